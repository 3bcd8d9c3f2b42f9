"""What asyncio lacks: what it has from Python 3.11 on under the same names, and two helpers."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from asyncio import TaskGroup, timeout
else:
    from async_timeout import timeout
    from taskgroup import TaskGroup

__all__ = ["TaskGroup", "bound_send_buffer", "end_if_cancelled", "end_task", "timeout"]

_AGAIN_S = 0.5
#: What the kernel takes of a live stream beyond what the far side acknowledged; the kernel doubles
#: it. Enough for 40 Mbit/s over 100 ms.
_SEND_BUFFER_BYTES = 512 * 1024


def bound_send_buffer(transport: asyncio.BaseTransport) -> None:
    """Keep the kernel from taking megabytes that a thin link needs seconds for.

    Left alone it takes up to 4 MB (tcp_wmem), which no bound, priority or age of ours reaches any
    more: a picture would be that old before it leaves.
    """
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


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
