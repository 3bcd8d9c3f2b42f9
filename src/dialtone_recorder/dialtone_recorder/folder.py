"""The folder that episodes lie in: made, proven writable, and its orphans recovered."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from dialtone_core.errors import DialtoneError
from dialtone_core.paths import state_dir
from dialtone_core.process import die_with_parent
from dialtone_recorder.recover import orphans, unindexed


def episodes_directory(directory: str = "") -> Path:
    """The absolute folder of ``directory``, ``""`` being ``$DIALTONE_HOME/episodes``."""
    return Path(directory).expanduser().absolute() if directory else state_dir() / "episodes"


def open_directory(directory: str) -> Path:
    """Make the folder and prove that it takes files; raises ``DialtoneError``."""
    path = episodes_directory(directory)
    probe = path / f".probe-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DialtoneError(
            f"episodes cannot be written there ({error.strerror})", where=str(path),
            fix="make it writable, or set the parameter directory or DIALTONE_HOME",
        ) from error  # fmt: skip
    return path


async def recover_in_background(
    directory: Path, on_told: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Recover what the last run left, in a process of its own; ``on_told`` hears of each.

    Cancelling ends that process; what it was at stays recoverable.
    """
    if not orphans(directory) and not unindexed(directory):
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dialtone_recorder.recover", str(directory),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        start_new_session=True, preexec_fn=die_with_parent(),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            await on_told(orjson.loads(line))
    finally:
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                return
        await process.wait()
