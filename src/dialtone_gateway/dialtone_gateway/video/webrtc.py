"""``POST /api/v1/webrtc``: H.264 for slow links, by aiortc.

JPEGs are decoded and encoded again for each viewer, which costs about half a core at 640×480, so
peers are few (``webrtc_peers``). aiortc and PyAV are imported at the first offer: an idle gateway
does without their 60 MB. The fallback is the JPEG path, which needs none of this.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
from aiohttp import web

from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import STRING, Route, Schema, obj
from dialtone_gateway.video.hub import CAMERA, FullError, Hub

LOG = logging.getLogger("gateway")
_MOST_SDP_BYTES = 32 * 1024
_NEGOTIATE_S = 10.0

_OFFER: Schema = {
    "type": "object",
    "properties": {
        "camera": {"type": "string", "pattern": "^[a-z0-9_]{1,40}$"},
        "sdp": {"type": "string", "maxLength": _MOST_SDP_BYTES},
        "type": {"const": "offer"},
    },
    "required": ["camera", "sdp", "type"],
}


class WebRtcApi:
    """Each peer lives in a task of its own until it leaves or its login ends."""

    def __init__(self, hub: Hub, connections: Connections, who: Who, most: int) -> None:
        self._hub = hub
        self._connections = connections
        self._who = who
        self._most = most
        self._peers: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/api/v1/webrtc", self.offer, Role.VIEWER, "Answer a WebRTC offer.",
                  body=_OFFER, answer=obj({"sdp": STRING, "type": STRING}), statuses=(422, 503),
                  max_body_bytes=2 * _MOST_SDP_BYTES),
        ]  # fmt: skip

    async def offer(self, request: web.Request) -> web.Response:
        offer = _read_offer(await request.read())
        if offer is None:
            return error(400, 'send {"camera": "…", "sdp": "…", "type": "offer"}')
        if len(self._peers) >= self._most:
            return error(503, f"{self._most} WebRTC viewers already; webrtc_peers bounds it")
        try:
            camera = self._hub.camera(offer["camera"])
        except FullError as raised:
            return error(503, str(raised))
        try:
            from dialtone_gateway.video.peer import Peer
        except ImportError as raised:
            LOG.warning("no WebRTC: %s. Fix: pip install aiortc", raised)
            return error(503, "WebRTC is not installed on the robot; take the JPEG path")
        peer = Peer(camera)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._live(request, peer, offer["sdp"], answer))
        self._peers.add(task)
        task.add_done_callback(self._peers.discard)
        either: set[asyncio.Future[Any]] = {task, answer}
        await asyncio.wait(either, timeout=_NEGOTIATE_S, return_when="FIRST_COMPLETED")
        if not answer.done() or answer.exception() is not None:
            task.cancel()
            return error(422, "that offer cannot be answered; it must want H.264 video")
        return web.json_response({"sdp": answer.result(), "type": "answer"})

    async def aclose(self) -> None:
        peers = set(self._peers)
        for task in peers:
            task.cancel()
        if peers:
            await asyncio.wait(peers, timeout=0.5)

    async def _live(
        self, request: web.Request, peer: Any, sdp: str, answer: asyncio.Future[str]
    ) -> None:
        address = self._who.address(request)
        try:
            with self._connections.hold(request[IDENTITY], address, peer.hang_up):
                try:
                    answer.set_result(await peer.answer(sdp))
                except Exception as raised:
                    # aiortc raises whatever its parser trips over: the offer is a stranger's.
                    LOG.info("an offer of %s was refused: %r", address, raised)
                    answer.set_exception(ValueError("bad offer"))
                    answer.exception()
                    return
                await peer.run()
        finally:
            await peer.aclose()


def _read_offer(body: bytes) -> dict[str, str] | None:
    try:
        tree = orjson.loads(body)
        offer = {key: tree[key] for key in ("camera", "sdp", "type")}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    strings = all(isinstance(value, str) for value in offer.values())
    if not strings or offer["type"] != "offer" or not CAMERA.fullmatch(offer["camera"]):
        return None
    return offer if len(offer["sdp"]) <= _MOST_SDP_BYTES else None
