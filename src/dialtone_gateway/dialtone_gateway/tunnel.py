"""The program that gives the gateway a public address: started, watched, started again.

``tunnel.command`` prints its address on stdout or stderr; ``tunnel.url_pattern`` finds it there.
The address is asked for ``/healthz`` every ``check_period_s``; after ``failures`` bad answers in a
row, or when the program ends, it is started again, later each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from dialtone_core.aio import timeout
from dialtone_core.errors import ConfigError
from dialtone_core.process import die_with_parent
from dialtone_gateway.params import TunnelParams

LOG = logging.getLogger("gateway")
_FIRST_WAIT_S, _LAST_WAIT_S = 1.0, 60.0
_CHECK_S = 10.0
_LINE_BYTES = 64 * 1024


class Tunnel:
    """``on_url`` is told the public address when it is found, and "" when it is gone."""

    def __init__(self, params: TunnelParams, on_url: Callable[[str], None]) -> None:
        self._params = params
        self._on_url = on_url
        try:
            self._pattern = re.compile(params.url_pattern)
        except re.error as error:
            raise ConfigError(
                f"tunnel.url_pattern is no regular expression ({error})", fix="correct it"
            ) from error
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.url = ""
        self.starts = 0
        self.failures = 0

    def open(self) -> None:
        if self._params.command:
            self._task = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _keep(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                healthy = await self._once()
            except OSError as error:
                healthy = False
                LOG.error("cannot start the tunnel %s (%s)", self._params.command[0], error)
            wait_s = _FIRST_WAIT_S if healthy else min(wait_s * 2, _LAST_WAIT_S)
            LOG.warning("the tunnel ended; starting it again in %.0f s", wait_s)
            await asyncio.sleep(wait_s)

    async def _once(self) -> bool:
        """Run the program until it ends or fails its checks; whether it ever worked."""
        self.starts += 1
        self.failures = 0
        process = await asyncio.create_subprocess_exec(
            *self._params.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_BYTES,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        reading = asyncio.create_task(self._read(process))
        checking = asyncio.create_task(self._check())
        try:
            await asyncio.wait({reading, checking}, return_when=asyncio.FIRST_COMPLETED)
            return bool(self.url)
        finally:
            for task in (reading, checking):
                task.cancel()
            await asyncio.wait({reading, checking})
            await _end(process)
            self._tell("")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Its output, to the end; the pipe must be read or the program would block."""
        stream = process.stdout
        if stream is None:
            return
        while data := await stream.read(_LINE_BYTES):
            for line in data.decode("utf-8", "replace").splitlines():
                match = self._pattern.search(line)
                if match and not self.url:
                    self._tell(match[0])
                LOG.debug("tunnel: %s", line)

    async def _check(self) -> None:
        """Until the address failed too often in a row."""
        while self.failures < self._params.failures:
            await asyncio.sleep(self._params.check_period_s)
            self.failures = 0 if await self._answers() else self.failures + 1
        LOG.warning("the tunnel failed %d checks in a row", self.failures)

    async def _answers(self) -> bool:
        if not self.url:
            return False
        limit = aiohttp.ClientTimeout(total=_CHECK_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as http,
                http.get(f"{self.url.rstrip('/')}/healthz", allow_redirects=False) as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            return False

    def _tell(self, url: str) -> None:
        if url != self.url:
            self.url = url
            if url:
                LOG.info("public address: %s", url)
            self._on_url(urlsplit(url).hostname or "" if url else "")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with timeout(0.5):
            await process.wait()
    except asyncio.TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
