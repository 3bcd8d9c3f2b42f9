"""``/nats``: the robot's NATS server for a browser, on the same port and as its own role.

``GET /api/v1/nats`` gives a login its credentials. They work on this path only, for this login
only, and end with it; the server's own passwords never leave the gateway.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from dialtone_core.natsaccess import ROLES, NatsAccess
from dialtone_core.natsauth import Login, read_login, tls_context
from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.params import GatewayParams
from dialtone_gateway.proxy.guard import NatsGuard, ProtocolError
from dialtone_gateway.proxy.pump import Outflow, close_politely, copy_down, first_of
from dialtone_gateway.roles import Identity, Role
from dialtone_gateway.routes import STRING, Route, obj

LOG = logging.getLogger("gateway")
_INFO_S = 3.0


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's WebSocket listener, and as whom each role comes in there."""

    url: str
    logins: dict[str, Login] = field(repr=False)


class NatsProxy:
    """``key`` signs the credentials of a login."""

    def __init__(
        self, params: GatewayParams, key: str, connections: Connections, who: Who
    ) -> None:
        self._params = params
        self._key = key.encode()
        self._connections = connections
        self._who = who

    def routes(self) -> list[Route]:
        answer = obj(
            {
                "path": STRING,
                "robot": STRING,
                "user": STRING,
                "password": STRING,
                "pass": STRING,
                "operator": STRING,
                "role": STRING,
                "inbox_prefix": STRING,
            }
        )
        return [
            Route("GET", "/api/v1/nats", self.credentials, Role.VIEWER,
                  "Credentials of this login for /nats.", answer=answer, statuses=(503,)),
            Route("GET", "/nats", self.proxy, Role.VIEWER, "NATS over WebSocket.", socket=True,
                  statuses=(503,)),
        ]  # fmt: skip

    async def credentials(self, request: web.Request) -> web.Response:
        identity = request[IDENTITY]
        server = await asyncio.to_thread(self._server)
        if server is None:
            return error(503, _NO_LISTENER)
        login = server.logins.get(identity.role.text, Login())
        secret = self._secret(identity)
        return web.json_response(
            {
                "path": "/nats",
                "robot": self._params.robot,
                "user": identity.operator,
                "password": secret,
                "pass": secret,
                "operator": identity.operator,
                "role": identity.role.text,
                "inbox_prefix": login.inbox,
            }
        )

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        identity = request[IDENTITY]
        server = await asyncio.to_thread(self._server)
        login = server.logins.get(identity.role.text) if server is not None else None
        if server is None or login is None:
            return error(503, _NO_LISTENER)
        ws = web.WebSocketResponse(
            compress=False, max_msg_size=512 * 1024, heartbeat=15, timeout=1.0
        )
        if not ws.can_prepare(request).ok:
            return error(400, "this path is a WebSocket")
        guard = NatsGuard(identity, self._secret(identity), login)
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(
                    server.url,
                    compress=0,
                    max_msg_size=0,
                    ssl=tls_context(server.url) or True,
                    timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
                ) as upstream,
            ):
                hello = await _hello(upstream, guard)
                await ws.prepare(request)
                await self._serve(request, ws, upstream, guard, hello)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as raised:
            LOG.warning("no NATS at %s (%s)", server.url, raised or type(raised).__name__)
            if not ws.prepared:
                return error(503, "the robot's NATS server does not answer")
        return ws

    async def _serve(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        upstream: aiohttp.ClientWebSocketResponse[Any],
        guard: NatsGuard,
        hello: bytes,
    ) -> None:
        outflow = Outflow(ws)
        outflow.put(hello)
        transport: Any = request.transport
        address = self._who.address(request)
        with self._connections.hold(request[IDENTITY], address, transport.abort):
            await first_of(
                asyncio.create_task(copy_down(upstream, outflow)),
                asyncio.create_task(_copy_up(ws, upstream, guard, outflow)),
                asyncio.create_task(outflow.run()),
            )
            await close_politely(ws, outflow, "too slow" if outflow.overflowed else "over")

    def _secret(self, identity: Identity) -> str:
        text = f"nats {identity.kind} {identity.operator} {identity.role.text}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _server(self) -> _Server | None:
        """The embedded server's, or that of another one that params and environment name."""
        url = self._params.nats_ws_url
        if url:
            told = {role: os.environ.get(f"DIALTONE_NATS_{role.upper()}", "") for role in ROLES}
            return _Server(url, {role: _login(role, each) for role, each in told.items() if each})
        access = NatsAccess.read(self._params.robot)
        if access is None:
            return None
        found = {role: Login(role, password) for role, password in access.passwords.items()}
        return _Server(access.websocket_url, found)


_NO_LISTENER = (
    "the NATS server has no WebSocket listener that the gateway knows; "
    "run the embedded server, or set nats_ws_url and DIALTONE_NATS_VIEWER, _OPERATOR and _ADMIN"
)


def _login(role: str, told: str) -> Login:
    """A path is a file with credentials, anything else the password of the user ``role``."""
    return read_login(Path(told)) if told.startswith("/") else Login(role, told)


async def _hello(upstream: aiohttp.ClientWebSocketResponse[Any], guard: NatsGuard) -> bytes:
    """The server's INFO, with the nonce that a key signs; raises where it sends none."""
    message = await upstream.receive(_INFO_S)
    hello = message.data
    if not isinstance(hello, bytes) or not hello.startswith(b"INFO "):
        raise aiohttp.ClientError("this is no NATS server")
    try:
        guard.nonce = str(orjson.loads(hello[5:].split(b"\r\n")[0]).get("nonce", ""))
    except (orjson.JSONDecodeError, AttributeError):
        raise aiohttp.ClientError("its INFO is not understood") from None
    return hello


async def _copy_up(
    ws: web.WebSocketResponse,
    upstream: aiohttp.ClientWebSocketResponse[Any],
    guard: NatsGuard,
    outflow: Outflow,
) -> None:
    """What the browser sends, as far as the guard lets it."""
    async for message in ws:
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if not isinstance(data, bytes):
            return
        try:
            passed = guard.feed(data)
        except ProtocolError as raised:
            LOG.info("closed a browser's NATS connection: %s", raised)
            outflow.put(guard.take_replies() or b"-ERR 'Parser Error'\r\n")
            await asyncio.sleep(0)
            return
        if guard.replies:
            outflow.put(guard.take_replies())
        if passed:
            await upstream.send_bytes(passed)
