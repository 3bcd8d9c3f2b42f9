"""Who asks: a Bearer token, the session cookie, Tailscale, or this machine itself."""

from __future__ import annotations

import ipaddress

from aiohttp import hdrs, web

from dialtone_gateway.auth.accounts import Accounts
from dialtone_gateway.auth.origins import came_directly, is_loopback
from dialtone_gateway.auth.tailscale import Tailscale
from dialtone_gateway.auth.tokens import Tokens
from dialtone_gateway.roles import Identity, Role

COOKIE = "dt_session"
LOCAL_USER = "local"
_LOCAL_LIFE_S = 3600.0


class Who:
    """Judges every request. ``trust_forwarded``: a proxy on this machine tells the address."""

    def __init__(
        self,
        tokens: Tokens,
        accounts: Accounts,
        tailscale: Tailscale,
        *,
        insecure_local: bool = False,
        trust_forwarded: bool = False,
    ) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._tailscale = tailscale
        self._trust_forwarded = trust_forwarded
        self.insecure_local = insecure_local

    async def identify(self, request: web.Request) -> tuple[Identity | None, bool]:
        """The identity, and whether it came in a header that no browser sends by itself.

        A token that is there but wrong is not made up for by anything else.
        """
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme:
            bearer = token.strip() if scheme.lower() == "bearer" else ""
            return self.from_token(bearer, request), True
        cookie = request.cookies.get(COOKIE)
        if cookie is not None:
            known = self.from_token(cookie, request)
            if known is not None:
                return known, False
        return await self._ambient(request), False

    def from_token(self, token: str, request: web.Request | None = None) -> Identity | None:
        """Whom a token stands for *now*: an account may have lost its role or be gone."""
        identity = self._tokens.verify(token)
        if identity is None:
            return None
        role = self._role_now(identity, request)
        if role is None:
            return None
        lower = min(role, identity.role)
        return Identity(
            identity.user, lower, identity.session, identity.expires_at_s, identity.kind
        )

    def still_good(self, identity: Identity) -> bool:
        """Whether a login that holds a connection or a ticket still has its account and role."""
        if self._tokens.revoked(identity):
            return False
        role = self._role_now(identity, None)
        return role is not None and role >= identity.role

    def address(self, request: web.Request) -> str:
        """The client's address, for rate limits and the audit log."""
        peer = request.remote or ""
        if self._trust_forwarded and is_loopback(peer):
            told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
            try:
                return str(ipaddress.ip_address(told))
            except ValueError:
                return peer
        return peer

    def _role_now(self, identity: Identity, request: web.Request | None) -> Role | None:
        if identity.kind == "local":
            direct = request is None or _direct(request)
            return Role.OPERATOR if self.insecure_local and direct else None
        if identity.kind == "tailscale":
            return self._tailscale.role_now(identity.user)
        return self._accounts.role_now(identity.user, identity.kind)

    async def _ambient(self, request: web.Request) -> Identity | None:
        """Who needs no token at all."""
        if self.insecure_local and _direct(request):
            expires_s = self._tokens.now_s() + _LOCAL_LIFE_S
            return Identity(LOCAL_USER, Role.OPERATOR, "shell", expires_s, "local")
        return await self._tailscale.identify(request.headers, request.remote or "")


def _direct(request: web.Request) -> bool:
    return came_directly(request.headers, request.remote or "", request.headers.get("Host", ""))
