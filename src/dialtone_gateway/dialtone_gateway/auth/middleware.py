"""What every request passes: host, origin, who asks, role, CSRF, body size, headers, errors.

Fails closed: a path that is not in the route table is refused, whoever asks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from aiohttp import hdrs, web

from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError
from dialtone_gateway.auth.origins import Origins
from dialtone_gateway.auth.who import Who
from dialtone_gateway.roles import Identity, Role
from dialtone_gateway.routes import Handler, Route, find

LOG = logging.getLogger("gateway")

CSRF_HEADER = "X-Dialtone"
#: Method, route (``None``: not served), status and seconds of an answered request.
Answered = Callable[[str, "Route | None", int, float], None]
IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)

_CSP = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "style-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def error(status: int, what: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """``{"error": …}``."""
    return web.json_response({"error": what}, status=status, headers=headers)


class Guard:
    """The middleware, made once for an application."""

    def __init__(
        self, origins: Origins, who: Who, timeout_s: float, answered: Answered | None = None
    ) -> None:
        self._origins = origins
        self._who = who
        self._timeout_s = timeout_s
        self._answered = answered
        self.middlewares = [self._outside, self._inside]

    @web.middleware
    async def _outside(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count what was answered, and how fast."""
        began_s = time.monotonic()
        response = await self._answer(request, handler)
        if self._answered is not None:
            route = find(request)
            self._answered(request.method, route, response.status, time.monotonic() - began_s)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whatever goes wrong becomes JSON."""
        try:
            return await handler(request)
        except web.HTTPException as raised:
            if raised.status < 400:
                raise
            keep = {k: v for k, v in raised.headers.items() if k in (hdrs.ALLOW, "Retry-After")}
            text = raised.text or ""
            plain = text == f"{raised.status}: {raised.reason}"
            return error(raised.status, raised.reason if plain else text[:200], keep)
        except DialtoneError as raised:
            LOG.error("%s %s: %s", request.method, request.path, raised)
            return error(500, "a setting or file of the robot is wrong; its log says which")
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception:
            LOG.exception("%s %s failed", request.method, request.path)
            return error(500, "internal error; the gateway's log has it")

    @web.middleware
    async def _inside(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._origins.host_allowed(request.headers.get(hdrs.HOST, "")):
            return error(421, "this gateway is not known by that name; add it to allowed_hosts")
        route = find(request)
        if route is None:
            if request.match_info.http_exception is not None:
                raise request.match_info.http_exception
            return error(403, "not in the route table")
        if route.any_origin:
            return await handler(request)
        self._check_origin(request, route)
        identity, by_header = await self._who.identify(request)
        if route.role > Role.PUBLIC:
            if identity is None:
                return error(401, "log in first", {"WWW-Authenticate": "Bearer"})
            if identity.role < route.role:
                return error(
                    403, f"needs the role {route.role.text}; you are {identity.role.text}"
                )
        ambient = identity is not None and not by_header and not route.own_auth
        if route.unsafe and ambient and request.headers.get(CSRF_HEADER) != "1":
            return error(403, f"needs the header {CSRF_HEADER}: 1")
        if identity is not None:
            request[IDENTITY] = identity
        if route.body is not None:
            self._check_body(request, route)
            await self._read(request)
        return await handler(request)

    async def _read(self, request: web.Request) -> None:
        """Have the whole body, or give up: a client that trickles it holds nothing for long."""
        try:
            async with timeout(self._timeout_s):
                await request.read()
        except asyncio.TimeoutError:
            raise web.HTTPRequestTimeout(text="the body did not come in time") from None

    def _check_origin(self, request: web.Request, route: Route) -> None:
        """Another site's page may neither change nor read anything, nor open a socket."""
        origin = request.headers.get(hdrs.ORIGIN)
        host = request.headers.get(hdrs.HOST, "")
        if origin is not None and not self._origins.origin_allowed(origin, host):
            raise web.HTTPForbidden(text="another site's page may not use this gateway")
        if origin is None and request.headers.get("Sec-Fetch-Site") == "cross-site":
            navigates = request.headers.get("Sec-Fetch-Mode") == "navigate"
            if route.unsafe or route.socket or not navigates:
                raise web.HTTPForbidden(text="another site's page may not use this gateway")

    def _check_body(self, request: web.Request, route: Route) -> None:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send application/json")
        if (request.content_length or 0) > route.max_body_bytes:
            raise web.HTTPRequestEntityTooLarge(route.max_body_bytes, request.content_length or 0)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """``on_response_prepare``: the security headers, on streams and sockets too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers[hdrs.SERVER] = "dialtone"
