"""Login, logout, refresh, and what a login is."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from dialtone_gateway.audit import Audit
from dialtone_gateway.auth.accounts import FIRST_USER, Accounts, first_password_file
from dialtone_gateway.auth.limits import BusyError, Gate, RateLimit, address_key
from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.auth.tokens import Connections, Tokens
from dialtone_gateway.auth.who import COOKIE, Who
from dialtone_gateway.roles import Identity, Role
from dialtone_gateway.routes import BOOLEAN, NUMBER, STRING, Route, Schema, obj

_LOGIN_REPLY = obj(
    {"token": STRING, "user": STRING, "role": STRING, "expires_at_s": NUMBER, "session": STRING}
)
_LOGIN_BODY: Schema = {
    "type": "object",
    "properties": {
        "uuid": {"type": "string", "minLength": 1, "maxLength": 40},
        "password": {"type": "string", "minLength": 1, "maxLength": 256},
    },
    "required": ["uuid", "password"],
}


class SessionApi:
    """Everything that makes, lengthens or ends a login."""

    def __init__(
        self,
        robot: str,
        who: Who,
        tokens: Tokens,
        accounts: Accounts,
        connections: Connections,
        audit: Audit,
        limit: RateLimit,
        gate: Gate,
    ) -> None:
        self._robot = robot
        self._who = who
        self._tokens = tokens
        self._accounts = accounts
        self._connections = connections
        self._audit = audit
        self._limit = limit
        self._gate = gate

    def routes(self) -> list[Route]:
        session = obj(
            {
                "user": STRING,
                "role": STRING,
                "session": STRING,
                "expires_at_s": NUMBER,
                "robot": STRING,
                "insecure_local": BOOLEAN,
            }
        )
        return [
            Route("POST", "/login", self.login, Role.PUBLIC, "Log in.", body=_LOGIN_BODY,
                  answer=_LOGIN_REPLY, statuses=(400, 401, 429)),
            Route("POST", "/logout", self.logout, Role.PUBLIC, "End this login.",
                  answer=obj({"ok": BOOLEAN})),
            Route("POST", "/api/v1/refresh", self.refresh, Role.VIEWER, "Lengthen this login.",
                  answer=_LOGIN_REPLY),
            Route("GET", "/api/v1/session", self.session, Role.VIEWER, "Who one is.",
                  answer=session),
        ]  # fmt: skip

    async def login(self, request: web.Request) -> web.Response:
        """A right password costs one Argon2 run, a wrong one too; beyond the limits none."""
        pair = _credentials(await request.read())
        if pair is None:
            return error(400, 'send {"uuid": "…", "password": "…"}, both strings')
        user, password = pair
        address = self._who.address(request)
        wait_s = self._limit.take(address_key(address))
        if wait_s > 0:
            return _later(wait_s)
        try:
            found = await self._gate.run(partial(self._accounts.verify, user, password))
        except BusyError:
            return _later(1.0)
        if found is None:
            self._audit.note("login_failed", user=user[:40], address=address)
            return error(401, "wrong user or password")
        self._limit.forgive(address_key(address))
        role, kind = found
        token, identity = self._tokens.issue(user, role, kind)
        self._audit.note("login", user=user, role=role.text, session=identity.session,
                         kind=kind, address=address)  # fmt: skip
        if user == FIRST_USER:
            await asyncio.to_thread(first_password_file(self._accounts).unlink, missing_ok=True)
        return self._reply(request, token, identity)

    async def logout(self, request: web.Request) -> web.Response:
        """Ends the login for good and closes what it has open; without a login it does nothing."""
        identity = request.get(IDENTITY)
        if identity is not None:
            self._tokens.revoke(identity)
            self._connections.end(identity.session)
            self._audit.note("logout", user=identity.user, session=identity.session)
        response = web.json_response({"ok": True})
        response.del_cookie(COOKIE, path="/")
        return response

    async def refresh(self, request: web.Request) -> web.Response:
        """A new token of the same session; what it has open stays open."""
        identity = request[IDENTITY]
        token, renewed = self._tokens.issue(
            identity.user, identity.role, identity.kind, identity.session, _began_s(self, request)
        )
        self._connections.extend(renewed)
        return self._reply(request, token, renewed)

    async def session(self, request: web.Request) -> web.Response:
        """Also gives a cookie to who needs no login, so that two windows are two operators."""
        identity = request[IDENTITY]
        response: web.Response
        token = ""
        if identity.kind in ("local", "tailscale") and COOKIE not in request.cookies:
            token, identity = self._tokens.issue(identity.user, identity.role, identity.kind)
            self._audit.note("login", user=identity.user, role=identity.role.text,
                             session=identity.session, kind=identity.kind,
                             address=self._who.address(request))  # fmt: skip
        body = {
            "user": identity.user,
            "role": identity.role.text,
            "session": identity.session,
            "expires_at_s": identity.expires_at_s,
            "robot": self._robot,
            "insecure_local": self._who.insecure_local,
        }
        response = web.json_response(body)
        if token:
            self._set_cookie(request, response, token, identity)
        return response

    def began_s(self, token: str) -> float:
        claims = self._tokens.claims(token)
        return float(claims["auth_time"]) if claims else 0.0

    def _reply(self, request: web.Request, token: str, identity: Identity) -> web.Response:
        body: dict[str, Any] = {
            "token": token,
            "user": identity.user,
            "role": identity.role.text,
            "session": identity.session,
            "expires_at_s": identity.expires_at_s,
        }
        response = web.json_response(body)
        self._set_cookie(request, response, token, identity)
        return response

    def _set_cookie(
        self, request: web.Request, response: web.Response, token: str, identity: Identity
    ) -> None:
        encrypted = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE,
            token,
            max_age=max(0, int(identity.expires_at_s - self._tokens.now_s())),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=encrypted,
        )


def _began_s(api: SessionApi, request: web.Request) -> float:
    _, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return api.began_s(bearer.strip() or request.cookies.get(COOKIE, ""))


def _credentials(body: bytes) -> tuple[str, str] | None:
    try:
        tree = orjson.loads(body)
        user, password = tree["uuid"], tree["password"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    usable = isinstance(user, str) and isinstance(password, str) and user and password
    return (user, password) if usable and len(user) <= 40 and len(password) <= 256 else None


def _later(wait_s: float) -> web.Response:
    return error(429, "too many logins; wait a little", {"Retry-After": str(int(wait_s) + 1)})
