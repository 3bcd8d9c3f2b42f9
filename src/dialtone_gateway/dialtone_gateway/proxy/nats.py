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
from typing import Any

import aiohttp
from aiohttp import web

from dialtone_core.natsaccess import NatsAccess
from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.params import GatewayParams
from dialtone_gateway.proxy.guard import NatsGuard, ProtocolError
from dialtone_gateway.proxy.pump import Outflow, close_politely, copy_down, first_of
from dialtone_gateway.roles import Identity, Role
from dialtone_gateway.routes import STRING, Route, obj

LOG = logging.getLogger("gateway")
_CONNECT_S = 3.0


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
        if await asyncio.to_thread(self._access) is None:
            return error(503, _NO_LISTENER)
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
            }
        )

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        identity = request[IDENTITY]
        access = await asyncio.to_thread(self._access)
        password = access.passwords.get(identity.role.text) if access is not None else None
        if access is None or password is None:
            return error(503, _NO_LISTENER)
        ws = web.WebSocketResponse(
            compress=False, max_msg_size=512 * 1024, heartbeat=15, timeout=1.0
        )
        if not ws.can_prepare(request).ok:
            return error(400, "this path is a WebSocket")
        guard = NatsGuard(identity, self._secret(identity), password)
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(
                    access.websocket_url,
                    compress=0,
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
                ) as upstream,
            ):
                await ws.prepare(request)
                await self._serve(request, ws, upstream, guard)
        except (aiohttp.ClientError, OSError) as raised:
            LOG.warning("no NATS at %s (%s)", access.websocket_url, raised)
            if not ws.prepared:
                return error(503, "the robot's NATS server does not answer")
        return ws

    async def _serve(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        upstream: aiohttp.ClientWebSocketResponse[Any],
        guard: NatsGuard,
    ) -> None:
        outflow = Outflow(ws)
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

    def _access(self) -> NatsAccess | None:
        """The embedded server's, or of another one that params and environment name."""
        if not self._params.nats_ws_url:
            return NatsAccess.read(self._params.robot)
        found = {role: os.environ.get(f"DIALTONE_NATS_{role.upper()}", "") for role in _ROLES}
        return NatsAccess(self._params.nats_ws_url, {r: p for r, p in found.items() if p})


_ROLES = ("viewer", "operator", "admin")
_NO_LISTENER = (
    "the NATS server has no WebSocket listener that the gateway knows; "
    "run the embedded server, or set nats_ws_url and DIALTONE_NATS_VIEWER, _OPERATOR and _ADMIN"
)


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
