"""What asyncio lacks on Python 3.10, under the names it has from 3.11 on."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from asyncio import TaskGroup, timeout
else:
    from async_timeout import timeout
    from taskgroup import TaskGroup

__all__ = ["TaskGroup", "end_if_cancelled", "end_task", "timeout"]

_AGAIN_S = 0.5


def end_if_cancelled() -> None:
    """Raise the ``CancelledError`` that a library swallowed; for loops that end by cancellation.

    Before Python 3.12 ``asyncio.wait_for`` returns a result that came in the same moment as a
    cancellation, and the cancellation is lost. Python 3.10 cannot tell (no ``Task.cancelling``).
    """
    task = asyncio.current_task()
    if task is not None and getattr(task, "cancelling", int)():
        raise asyncio.CancelledError


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel ``task`` and wait until it is over, again where a library swallowed that.

    What it raised is not raised here; ask the task.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
