"""The signalling hub for neck clients: socket.io on ``/socket.io``, peers by token.

Events (the existing clients' protocol): ``connect`` with ``auth={"token"}``; the server sends
``existing-peers`` [{id, uuid, roles}] to the new peer and ``new-peer`` to the others, and
``peer-disconnect`` {id} when one leaves. ``broadcast-message`` {message} goes to all others,
``peer-message`` {target, message} to one as {peerId, message}. ``neck_command`` {command} is sent
to the robot and acknowledged by ``neck_ack`` {command}, or ``neck_error`` {command, error}.

A line of neck grammar goes to the robot as ``cmd.neck.command`` in the name of the login that sent
it, where teleop arbitrates as with any other source; only operators' lines go. These clients know
no lease, so the hub takes it for them with their first line, and gives it back when they leave;
between two lines it runs out by itself.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import ExitStack
from typing import Any

import orjson
from aiohttp import web

from dialtone_core import wire
from dialtone_core.command import Envelope
from dialtone_gateway.auth.limits import RateLimit
from dialtone_gateway.auth.middleware import error
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.link import RobotLink
from dialtone_gateway.roles import Identity, Role
from dialtone_gateway.routes import Route

LOG = logging.getLogger("gateway")

#: Words, actuators ``1:55,2:60``, head axes ``X50,Y-20``, quaternions ``Q:w,x,y,z,H..``; what is
#: in range is the actuator's to judge.
NECK_LINE = re.compile(
    r"(HOME(_BRUTE|_SOFT)?|HEALTH|STATUS|Q:[-+0-9.eE,HSA]+"
    r"|[1-6XYZRPHSA][-+0-9.:,XYZRPHSAeE]+)"
)
#: They move nothing and need no lease.
_QUESTIONS = ("HEALTH", "STATUS")
#: A lease that lines keep alive is renewed so often (s); teleop's own ends after 2 s.
_RENEW_S = 0.5
_MOST_MESSAGE_BYTES = 64 * 1024
_MOST_SESSIONS = 64


class Signalling:
    """One hub. ``routes`` serve engine.io's long polling and its WebSocket."""

    def __init__(
        self, who: Who, link: RobotLink, connections: Connections, limit: RateLimit
    ) -> None:
        self._who = who
        self._link = link
        self._connections = connections
        self._limit = limit
        self._peers: dict[str, tuple[Identity, ExitStack]] = {}
        #: Who has the lease through this hub, and when (loop time, s) it is to be renewed.
        self._held: dict[str, float] = {}
        self.server: Any = None

    def _open(self) -> None:
        """Make the hub, at the first request: the library is 6 MB that many robots never use."""
        import socketio

        self.server = socketio.AsyncServer(
            async_mode="aiohttp",
            # The middleware has judged the Origin already, by the gateway's own rules.
            cors_allowed_origins=lambda origin: True,
            max_http_buffer_size=_MOST_MESSAGE_BYTES,
            logger=False,
            engineio_logger=False,
        )
        for event, handler in (
            ("connect", self._connect),
            ("disconnect", self._disconnect),
            ("broadcast-message", self._broadcast),
            ("peer-message", self._to_peer),
            ("neck_command", self._neck),
        ):
            self.server.on(event, handler)

    def routes(self) -> list[Route]:
        return [
            Route("*", "/socket.io/", self._handle, Role.PUBLIC,
                  "Signalling hub; logs in by token inside.", own_auth=True),
        ]  # fmt: skip

    async def aclose(self) -> None:
        if self.server is not None:
            await self.server.shutdown()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.server is None:
            self._open()
        if "sid" not in request.query and len(self.server.eio.sockets) >= _MOST_SESSIONS:
            return error(503, "too many signalling sessions")
        answer: web.StreamResponse = await self.server.handle_request(request)
        return answer

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> bool:
        token = auth.get("token") if isinstance(auth, dict) else None
        identity = self._who.from_token(token) if isinstance(token, str) else None
        if identity is None:
            return False  # the client is told that it was refused
        request = environ["aiohttp.request"]
        stack = ExitStack()
        stack.enter_context(
            self._connections.hold(identity, self._who.address(request), lambda: self._drop(sid))
        )
        others = [self._card(each) for each in self._peers]
        self._peers[sid] = (identity, stack)
        await self.server.emit("existing-peers", others, to=sid)
        await self.server.emit("new-peer", self._card(sid), skip_sid=sid)
        return True

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        peer = self._peers.pop(sid, None)
        if peer is None:
            return
        peer[1].close()
        operator = peer[0].operator
        if self._held.pop(operator, None) is not None:
            await self._link.ask("teleop", "lease.release", {"operator": operator})
        await self.server.emit("peer-disconnect", {"id": sid, "uuid": peer[0].user})

    async def _broadcast(self, sid: str, body: Any = None) -> None:
        message = body.get("message") if isinstance(body, dict) else body
        if sid not in self._peers:
            return
        await self.server.emit(
            "broadcast-message", {"peerId": sid, "message": message}, skip_sid=sid
        )
        if isinstance(message, str) and NECK_LINE.fullmatch(message.strip()):
            await self._send_line(sid, message.strip())

    async def _to_peer(self, sid: str, body: Any = None) -> None:
        target = body.get("target") if isinstance(body, dict) else None
        if isinstance(target, str) and target in self._peers:
            message = {"peerId": sid, "message": body.get("message")}
            await self.server.emit("peer-message", message, to=target)

    async def _neck(self, sid: str, body: Any = None) -> None:
        command = body.get("command") if isinstance(body, dict) else None
        line = command.strip() if isinstance(command, str) else ""
        problem = "not a neck command"
        if len(line) <= 256 and NECK_LINE.fullmatch(line):
            problem = await self._send_line(sid, line)
        if problem:
            answer = {"command": command, "error": problem}
            await self.server.emit("neck_error", answer, to=sid)
        else:
            await self.server.emit("neck_ack", {"command": command}, to=sid)

    async def _send_line(self, sid: str, line: str) -> str:
        """Send a line to the robot; empty, or why it did not go."""
        peer = self._peers.get(sid)
        if peer is None or peer[0].role < Role.OPERATOR:
            return "needs the role operator"
        if not self._who.still_good(peer[0]):
            return "the login is over"
        if self._limit.take(sid) > 0:
            return "too many commands a second"
        operator = peer[0].operator
        if line not in _QUESTIONS and (problem := await self._hold(peer[0])):
            return problem
        headers = {
            wire.TYPE: "std_msgs/msg/String",
            wire.ENCODING: "json",
            wire.OPERATOR: operator,
        }
        subject = wire.command_subject(self._link.robot, "neck.command")
        data = orjson.dumps({"data": Envelope(operator).to_frame_id(line)})
        sent = await self._link.publish(subject, data, headers)
        return "" if sent else "no link to the robot"

    async def _hold(self, identity: Identity) -> str:
        """Take or renew the lease for ``identity``; why it can't be had, or ""."""
        operator, now_s = identity.operator, asyncio.get_running_loop().time()
        if now_s < self._held.get(operator, 0.0):
            return ""
        asked = {"operator": operator, "role": identity.role.text}
        reply = await self._link.ask("teleop", "lease.acquire", asked)
        if reply is not None and not reply.get("ok"):
            return str(reply.get("error", "the lease is not to be had"))
        self._held[operator] = now_s + _RENEW_S
        return ""

    def _card(self, sid: str) -> dict[str, Any]:
        identity = self._peers[sid][0]
        return {"id": sid, "uuid": identity.user, "roles": [identity.role.text]}

    def _drop(self, sid: str) -> None:
        """The login is over."""
        self.server.start_background_task(self.server.disconnect, sid)
