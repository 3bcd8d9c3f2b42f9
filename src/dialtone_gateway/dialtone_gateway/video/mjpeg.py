"""``/stream/<camera>.mjpeg`` and ``/snapshot/<camera>.jpg``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Any

from aiohttp import web

from dialtone_gateway.auth.middleware import error
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import Route, Schema
from dialtone_gateway.video.asked import QUERY, Stage, keep_little, read_number
from dialtone_gateway.video.frames import BOUNDARY, Frame
from dialtone_gateway.video.hub import Camera, Viewer
from dialtone_gateway.video.variants import Variant

_FIRST_FRAME_S = 2.0
#: A viewer that takes nothing at all for so long is gone.
_STALLED_S = 20.0

_FPS: Schema = {"type": "number", "minimum": 0.1, "maximum": 1000}


class PictureApi:
    """Streams and single pictures over plain HTTP, for ``<img>`` and every other program."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/stream/{camera}.mjpeg", self.stream, Role.VIEWER,
                  "Moving pictures, newest first.", query={**QUERY, "fps": _FPS},
                  media=f"multipart/x-mixed-replace; boundary={BOUNDARY}",
                  statuses=(404, 503)),
            Route("GET", "/snapshot/{camera}.jpg", self.snapshot, Role.VIEWER, "One picture.",
                  query=QUERY, media="image/jpeg", statuses=(404, 503)),
        ]  # fmt: skip

    async def stream(self, request: web.Request) -> web.StreamResponse:
        return await self._stage.asked(request, partial(self._stream, request))

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        return await self._stage.asked(request, self._snapshot)

    async def _stream(
        self, request: web.Request, camera: Camera, variant: Variant | None
    ) -> web.StreamResponse:
        fps = read_number(request, "fps", 0.1, 1000, 0)
        viewer = Viewer()
        async with self._stage.variants.watch(camera, variant, viewer):
            frame = await viewer.first(_FIRST_FRAME_S)
            if frame is None:
                return error(404, f"no picture of camera {camera.name}; is it on?")
            if request.method == "HEAD":
                return web.Response(content_type="multipart/x-mixed-replace")
            return await self._send(request, viewer, frame, 1 / fps if fps else 0.0)

    async def _snapshot(self, camera: Camera, variant: Variant | None) -> web.Response:
        frame = await camera.newest(_FIRST_FRAME_S)
        if frame is None:
            return error(404, f"no picture of camera {camera.name}; is it on?")
        jpeg: bytes | None = frame.jpeg
        if variant is not None:
            jpeg = await self._stage.variants.once(frame.jpeg, variant)
        if jpeg is None:
            return error(503, "the camera's last picture is broken")
        headers = {"X-Stamp-Ns": str(frame.capture_ns), "X-Seq": str(frame.seq)}
        return web.Response(body=jpeg, content_type="image/jpeg", headers=headers)

    async def _send(
        self, request: web.Request, viewer: Viewer, first: Frame, least_s: float
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "multipart/x-mixed-replace"
        response.headers["Content-Type"] = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        response.force_close()
        await response.prepare(request)
        keep_little(request.transport)
        closing = Closer(viewer, request.transport)
        next_s = 0.0
        with (
            self._stage.hold(request, closing.close),
            contextlib.suppress(ConnectionResetError, ConnectionAbortedError),
        ):
            frame: Frame | None = first
            while frame is not None:
                now_s = time.monotonic()
                if now_s >= next_s:
                    # A steady grid, so that fps=10 of a 30 Hz camera is 10 and not 7.5.
                    next_s = max(next_s + least_s, now_s - least_s / 2)
                    closing.watch()
                    await response.write(frame.part)
                    self._stage.sent.add(len(frame.jpeg))
                    closing.unwatch()
                frame = await viewer.take()
        return response


class Closer:
    """Ends a stream: by itself when the client takes nothing for ``_STALLED_S``."""

    def __init__(self, viewer: Viewer, transport: asyncio.BaseTransport | None) -> None:
        self._viewer = viewer
        self._transport: Any = transport
        self._handle: asyncio.TimerHandle | None = None

    def close(self) -> None:
        self._viewer.close()
        if self._transport is not None:
            self._transport.abort()

    def watch(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(_STALLED_S, self.close)

    def unwatch(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
