"""What every way to watch shares: which camera, which variant, and a short way to the viewer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.prometheus import Throughput
from dialtone_gateway.routes import Schema
from dialtone_gateway.video.hub import CAMERA, Camera, FullError, Hub
from dialtone_gateway.video.variants import Variant, Variants, variant_of

#: Python's ``float`` takes more: spaces, underscores, other scripts' digits, ``inf``.
_NUMBER = re.compile(r"[-+0-9.eE]{1,24}")
#: What the kernel and the transport may hold for one viewer. More would be delay, not smoothness:
#: a slow link would show the past. It is a few pictures of 50 KB.
_SEND_BUFFER_BYTES = 256 * 1024
_UNSENT_BYTES = 128 * 1024

QUERY: dict[str, Schema] = {
    "quality": {"type": "integer", "minimum": 1, "maximum": 100},
    "width": {"type": "integer", "minimum": 16, "maximum": 4096},
}


class BadQueryError(ValueError):
    """A query parameter is no number or out of its bounds."""


@dataclass(frozen=True)
class Stage:
    """What a way to watch works with. ``sent`` counts bytes."""

    hub: Hub
    variants: Variants
    connections: Connections
    who: Who
    sent: Throughput

    def hold(
        self, request: web.Request, close: Callable[[], None]
    ) -> contextlib.AbstractContextManager[None]:
        """While inside, ``close`` is called once the viewer's login ends."""
        return self.connections.hold(request[IDENTITY], self.who.address(request), close)

    async def asked(
        self,
        request: web.Request,
        show: Callable[[Camera, Variant | None], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """``show`` what the request asks for; what can't be becomes 400 or 503."""
        try:
            return await show(find_camera(self.hub, request), read_variant(request))
        except BadQueryError as raised:
            return error(400, str(raised))
        except FullError as raised:
            return error(503, str(raised))


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
