"""``/foxglove``: the Foxglove server behind the gateway's login.

The server itself has no login (docs/wire.md). Viewers may look: of what they send only
subscriptions go through, no publishing, no service calls, no parameters. Protocol:
github.com/foxglove/ws-protocol, docs/spec.md: JSON operations as text, and binary messages of the
client, which are all publications and calls.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import orjson
from aiohttp import WSMsgType, web

from dialtone_gateway.api.robot import foxglove_url
from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tickets import Tickets
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.auth.who import Who
from dialtone_gateway.params import GatewayParams
from dialtone_gateway.proxy.pump import Outflow, close_politely, copy_down, first_of
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import NUMBER, STRING, Route, obj

LOG = logging.getLogger("gateway")

PROTOCOLS = ("foxglove.sdk.v1", "foxglove.websocket.v1")
_LOOKING = frozenset(
    {
        "subscribe",
        "unsubscribe",
        "getParameters",
        "subscribeParameterUpdates",
        "unsubscribeParameterUpdates",
        "subscribeConnectionGraph",
        "unsubscribeConnectionGraph",
        "fetchAsset",
    }
)


class FoxgloveProxy:
    """Everything passes for operators; see the module for viewers."""

    def __init__(
        self, params: GatewayParams, connections: Connections, who: Who, tickets: Tickets
    ) -> None:
        self._params = params
        self._connections = connections
        self._who = who
        self._tickets = tickets

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/foxglove", self.proxy, Role.VIEWER, "Foxglove over WebSocket.",
                  socket=True, statuses=(503,)),
            Route("GET", "/foxglove/{ticket:[A-Za-z0-9_-]+}", self.by_ticket, Role.PUBLIC,
                  "Foxglove over WebSocket, with a ticket.", socket=True, own_auth=True,
                  any_origin=True, statuses=(401, 503)),
            Route("POST", "/api/v1/foxglove", self.ticket, Role.VIEWER,
                  "A path of /foxglove for an app that cannot log in.",
                  answer=obj({"path": STRING, "expires_at_s": NUMBER})),
        ]  # fmt: skip

    async def ticket(self, request: web.Request) -> web.Response:
        ticket, ends_s = self._tickets.issue(request[IDENTITY])
        return web.json_response({"path": f"/foxglove/{ticket}", "expires_at_s": ends_s})

    async def by_ticket(self, request: web.Request) -> web.StreamResponse:
        """No cookie and no address counts here: the ticket alone does."""
        identity = self._tickets.identity(request.match_info["ticket"])
        if identity is None:
            return error(401, "this ticket is over; the dashboard gives another")
        request[IDENTITY] = identity
        return await self.proxy(request)

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        url = await asyncio.to_thread(foxglove_url, self._params)
        if not url:
            return error(503, "no Foxglove server is known; is the bridge up?")
        ws = web.WebSocketResponse(
            protocols=PROTOCOLS,
            compress=False,
            max_msg_size=16 * 1024 * 1024,
            heartbeat=15,
            timeout=1.0,
        )
        if not ws.can_prepare(request).ok:
            return error(400, "this path is a WebSocket")
        asked = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        protocols = [each.strip() for each in asked if each.strip() in PROTOCOLS]
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(
                    url,
                    protocols=protocols,
                    compress=0,
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
                ) as upstream,
            ):
                await ws.prepare(request)
                await self._serve(request, ws, upstream)
        except (aiohttp.ClientError, OSError) as raised:
            LOG.warning("no Foxglove server at %s (%s)", url, raised)
            if not ws.prepared:
                return error(503, "the Foxglove server does not answer")
        return ws

    async def _serve(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        upstream: aiohttp.ClientWebSocketResponse[Any],
    ) -> None:
        identity = request[IDENTITY]
        outflow = Outflow(ws)
        transport: Any = request.transport
        with self._connections.hold(identity, self._who.address(request), transport.abort):
            await first_of(
                asyncio.create_task(copy_down(upstream, outflow, patient=True)),
                asyncio.create_task(_copy_up(ws, upstream, identity.role)),
                asyncio.create_task(outflow.run()),
            )
            await close_politely(ws, outflow, "too slow" if outflow.overflowed else "over")


async def _copy_up(
    ws: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse[Any], role: Role
) -> None:
    async for message in ws:
        if message.type is WSMsgType.TEXT and may_send(message.data, role):
            await upstream.send_str(message.data)
        elif message.type is WSMsgType.BINARY and role >= Role.OPERATOR:
            await upstream.send_bytes(message.data)


def may_send(text: str, role: Role) -> bool:
    """Whether a JSON operation passes."""
    if role >= Role.OPERATOR:
        return True
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and body.get("op") in _LOOKING
