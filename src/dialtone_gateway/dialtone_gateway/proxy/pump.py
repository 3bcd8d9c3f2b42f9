"""Bytes from a server to a browser, bounded: a browser that does not read is let go.

From NATS the gateway always reads, so that a slow browser never makes the server stall its
publishers (it would: "Producer was stalled", nats-server 2.15).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from aiohttp import ClientWebSocketResponse, WSCloseCode, WSMsgType, web

MOST_WAITING_BYTES = 4 * 1024 * 1024


class Outflow:
    """What waits for one browser. ``put`` never blocks; ``run`` sends until closed."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws
        self._waiting: deque[bytes | str] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._sent = asyncio.Event()
        self.overflowed = False

    async def room(self) -> None:
        """Wait until less than the bound waits."""
        while self._bytes > MOST_WAITING_BYTES:
            self._sent.clear()
            await self._sent.wait()

    def put(self, data: bytes | str) -> bool:
        """Whether it still fits."""
        self._waiting.append(data)
        self._bytes += len(data)
        self._some.set()
        self.overflowed = self._bytes > MOST_WAITING_BYTES
        return not self.overflowed

    async def run(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._some.wait()
                while self._waiting:
                    data = self._waiting.popleft()
                    self._bytes -= len(data)
                    if isinstance(data, str):
                        await self._ws.send_str(data)
                    else:
                        await self._ws.send_bytes(data)
                    self._sent.set()
                self._some.clear()


async def copy_down(
    upstream: ClientWebSocketResponse[Any], outflow: Outflow, patient: bool = False
) -> None:
    """Everything that ``upstream`` sends, until it ends or the browser is too slow.

    ``patient`` waits for a slow browser instead, for servers that drop per client themselves.
    """
    async for message in upstream:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return
        if patient:
            await outflow.room()
            outflow.put(message.data)
            outflow.overflowed = False
        elif not outflow.put(message.data):
            return


async def first_of(*tasks: asyncio.Task[None]) -> None:
    """Until one ends; then cancel the others and wait for them."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            raise error


async def close_politely(ws: web.WebSocketResponse, outflow: Outflow, why: str) -> None:
    """Say why; a browser that does not even read that is cut after the close timeout."""
    code = WSCloseCode.TRY_AGAIN_LATER if outflow.overflowed else WSCloseCode.GOING_AWAY
    with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
        await ws.close(code=code, message=why.encode()[:100])
