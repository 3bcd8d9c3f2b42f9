"""The executable ``gateway``: settings, signals, and the end within a second."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from dialtone_core.arguments import parse_arguments
from dialtone_core.dotenv import load_secrets
from dialtone_core.errors import DialtoneError
from dialtone_gateway.app import Gateway
from dialtone_gateway.params import GatewayParams

LOG = logging.getLogger("gateway")


#: mallopt(3). Fixed, it keeps what Argon2 and pictures need for a moment out of the heap: glibc
#: raises the threshold to the biggest block seen, and then never gives 19 MiB back.
_M_MMAP_THRESHOLD = -3
_MMAP_FROM_BYTES = 1 << 20


async def run(params: GatewayParams) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    gateway = Gateway(params)
    try:
        await gateway.open()
        # What was made until now stays: a full collection would search it for 20 to 50 ms, and
        # every picture on its way would wait.
        gc.collect()
        gc.freeze()
        await stop.wait()
    finally:
        await gateway.aclose()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; exit code 2 for a wrong setting."""
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_FROM_BYTES)
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] [%(name)s]: %(message)s")
    # It writes a traceback for every request that is no HTTP: a stranger could fill the disk.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL + 1)
    try:
        load_secrets()
        arguments = sys.argv[1:] if argv is None else argv
        params = parse_arguments(arguments, GatewayParams, "gateway", "The robot's web server.")
        asyncio.run(run(params))
    except DialtoneError as error:
        LOG.critical("%s", error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
