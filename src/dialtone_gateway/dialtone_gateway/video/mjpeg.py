"""``/stream/<camera>.mjpeg`` and ``/snapshot/<camera>.jpg``."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from typing import Any

from aiohttp import web

from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.prometheus import Throughput
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import Route, Schema
from dialtone_gateway.video.frames import BOUNDARY, Frame
from dialtone_gateway.video.hub import CAMERA, Camera, FullError, Hub, Viewer
from dialtone_gateway.video.variants import Variant, Variants, variant_of

_FIRST_FRAME_S = 2.0
#: Python's ``float`` takes more: spaces, underscores, other scripts' digits, ``inf``.
_NUMBER = re.compile(r"[-+0-9.eE]{1,24}")
#: What the kernel and the transport may hold for one viewer. More would be delay, not smoothness:
#: a slow link would show the past. It is a few pictures of 50 KB.
_SEND_BUFFER_BYTES = 256 * 1024
_UNSENT_BYTES = 128 * 1024
#: A viewer that takes nothing at all for so long is gone.
_STALLED_S = 20.0

QUERY: dict[str, Schema] = {
    "quality": {"type": "integer", "minimum": 1, "maximum": 100},
    "width": {"type": "integer", "minimum": 16, "maximum": 4096},
}
_FPS: Schema = {"type": "number", "minimum": 0.1, "maximum": 1000}


class BadQueryError(ValueError):
    """A query parameter is no number or out of its bounds."""


class PictureApi:
    """Streams and single pictures over plain HTTP, for ``<img>`` and every other program."""

    def __init__(
        self,
        hub: Hub,
        variants: Variants,
        connections: Connections,
        who: Who,
        sent: Throughput,
    ) -> None:
        self._hub = hub
        self._variants = variants
        self._connections = connections
        self._who = who
        self._sent = sent

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
        try:
            camera = find_camera(self._hub, request)
            variant = read_variant(request)
            least_s = 1 / read_number(request, "fps", 0.1, 1000, 1000)
            viewer = Viewer()
            async with self._variants.watch(camera, variant, viewer):
                frame = await viewer.first(_FIRST_FRAME_S)
                if frame is None:
                    return error(404, f"no picture of camera {camera.name}; is it on?")
                if request.method == "HEAD":
                    return web.Response(content_type="multipart/x-mixed-replace")
                return await self._send(request, viewer, frame, least_s)
        except BadQueryError as raised:
            return error(400, str(raised))
        except FullError as raised:
            return error(503, str(raised))

    async def snapshot(self, request: web.Request) -> web.Response:
        try:
            camera = find_camera(self._hub, request)
            variant = read_variant(request)
            frame = await camera.newest(_FIRST_FRAME_S)
        except BadQueryError as raised:
            return error(400, str(raised))
        except FullError as raised:
            return error(503, str(raised))
        if frame is None:
            return error(404, f"no picture of camera {camera.name}; is it on?")
        jpeg: bytes | None = frame.jpeg
        if variant is not None:
            jpeg = await self._variants.once(frame.jpeg, variant)
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
            self._connections.hold(request[IDENTITY], self._who.address(request), closing.close),
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
                    self._sent.add(len(frame.jpeg))
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


def keep_little(transport: asyncio.BaseTransport | None) -> None:
    """Bound what waits between the gateway and a viewer, so that what they see is the present."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    transport.set_write_buffer_limits(high=_UNSENT_BYTES)
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


def find_camera(hub: Hub, request: web.Request) -> Camera:
    """The camera that the path names; raises ``BadQueryError`` and ``FullError``."""
    name = request.match_info["camera"]
    if not CAMERA.fullmatch(name):
        raise BadQueryError("a camera's name is a-z, 0-9 and _")
    return hub.camera(name)


def read_variant(request: web.Request) -> Variant | None:
    quality = int(read_number(request, "quality", 1, 100, 0, whole=True))
    width = int(read_number(request, "width", 16, 4096, 0, whole=True))
    return variant_of(width or None, quality or None)


def read_number(
    request: web.Request, name: str, low: float, high: float, default: float, whole: bool = False
) -> float:
    """A number of the query within bounds; raises ``BadQueryError``."""
    texts = request.query.getall(name, [])
    if not texts:
        return default
    try:
        value = float(texts[0]) if _NUMBER.fullmatch(texts[0]) else float("nan")
    except ValueError:
        value = float("nan")
    if len(texts) > 1 or not low <= value <= high or (whole and not value.is_integer()):
        raise BadQueryError(f"{name} is a number from {low:g} to {high:g}")
    return value
