"""``/ws/video/<camera>``: pictures with stamps, as many as the viewer has credits for.

The client grants credits (``{"credits": n}``) as it shows pictures, so that nothing piles up
between robot and screen whatever the link; at no credit the newest picture waits, older ones are
gone. ``{"ping": t}`` is answered at once with the server's clock, for the client's own latency.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from dialtone_gateway.auth.middleware import error
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import Route
from dialtone_gateway.video.asked import QUERY, Stage, keep_little
from dialtone_gateway.video.hub import Camera, Viewer
from dialtone_gateway.video.variants import Variant

MAX_CREDITS = 1000
_MAX_TEXT_BYTES = 1024
#: One picture may wait in the transport; the next one waits in its slot and may be replaced.
_UNSENT_BYTES = 32 * 1024


class Credits:
    """A counted permission to send."""

    def __init__(self) -> None:
        self.left = 0
        self._some = asyncio.Event()

    def grant(self, count: int) -> None:
        self.left = min(MAX_CREDITS, self.left + count)
        if self.left > 0:
            self._some.set()

    async def spend(self) -> None:
        """Wait for a credit and use it up."""
        await self._some.wait()
        self.left -= 1
        if self.left <= 0:
            self._some.clear()


class VideoSocketApi:
    """The WebSocket path of the dashboard."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/ws/video/{camera}", self.video, Role.VIEWER,
                  "Pictures with stamps, as many as credits are granted.", query=QUERY,
                  socket=True, statuses=(503,)),
        ]  # fmt: skip

    async def video(self, request: web.Request) -> web.StreamResponse:
        """One viewer until either side leaves or the login ends."""
        return await self._stage.asked(request, partial(self._video, request))

    async def _video(
        self, request: web.Request, camera: Camera, variant: Variant | None
    ) -> web.StreamResponse:
        ws = web.WebSocketResponse(
            heartbeat=15,
            compress=False,
            max_msg_size=_MAX_TEXT_BYTES,
            timeout=1.0,
            writer_limit=_UNSENT_BYTES,
        )
        if not ws.can_prepare(request).ok:
            return error(400, "this path is a WebSocket")
        viewer, granted = Viewer(), Credits()
        async with self._stage.variants.watch(camera, variant, viewer):
            await ws.prepare(request)
            keep_little(request.transport)
            await self._serve(request, ws, viewer, granted)
        return ws

    async def _serve(
        self, request: web.Request, ws: web.WebSocketResponse, viewer: Viewer, granted: Credits
    ) -> None:
        transport: Any = request.transport
        sending = asyncio.create_task(self._send(ws, viewer, granted))

        def hang_up() -> None:
            viewer.close()
            transport.abort()

        try:
            with self._stage.hold(request, hang_up):
                await _receive(ws, granted)
        finally:
            sending.cancel()
            await asyncio.wait({sending})

    async def _send(self, ws: web.WebSocketResponse, viewer: Viewer, granted: Credits) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await granted.spend()
                frame = await viewer.take()
                if frame is None:
                    return
                await ws.send_bytes(frame.message(time.time_ns()))
                self._stage.sent.add(len(frame.jpeg))


async def _receive(ws: web.WebSocketResponse, granted: Credits) -> None:
    """Credits and pings until the client leaves; anything else ends it."""
    async for message in ws:
        answer = _understand(message.data, granted) if message.type is WSMsgType.TEXT else None
        if answer is None:
            await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"credits or ping, please")
            return
        if answer:
            await ws.send_str(answer)


def _understand(text: str, granted: Credits) -> str | None:
    """The answer (empty: none) to one message of the client; ``None`` where it is nonsense."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict):
        return None
    if "ping" in body:
        return orjson.dumps({"pong": body["ping"], "server_ns": time.time_ns()}).decode()
    count = body.get("credits")
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_CREDITS:
        return None
    granted.grant(count)
    return ""
