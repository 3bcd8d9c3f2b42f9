"""Logins as signed tokens (JWT, HS256), and what holds while one lasts.

The key is made at the first start and lies in the state folder with mode 0600. Only HS256 is taken
when a token comes back: ``alg`` is the attacker's to write (RFC 8725 §3.1). A logout is remembered
until the token would have ended anyway, over restarts too.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_core.paths import write_secret
from dialtone_gateway.roles import Identity, Role

_ALGORITHM = "HS256"
#: Once a login is this old its token can't be refreshed any more, so a stolen one dies.
MAX_LIFE_S = 30 * 24 * 3600.0


def load_key(path: Path) -> str:
    """The signing key in ``path``, made there on the first start."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        key = ""
    if len(key) < 64:
        key = secrets.token_hex(32)
        write_secret(path, key + "\n")
    return key


class Tokens:
    """Makes and judges tokens of one robot."""

    def __init__(self, robot: str, key: str, life_s: float, clock: Clock, folder: Path) -> None:
        self._issuer = f"dialtone/{robot}"
        self._key = key
        self._life_s = life_s
        self._clock = clock
        self._revoked_file = folder / "logged_out.json"
        self._revoked: dict[str, float] = self._read_revoked()

    def now_s(self) -> float:
        return self._clock.wall_ns() / NS_PER_S

    def issue(
        self, user: str, role: Role, kind: str, session: str = "", began_s: float = 0.0
    ) -> tuple[str, Identity]:
        """A token and whom it stands for. ``session`` and ``began_s`` carry a refreshed login."""
        now_s = self.now_s()
        began_s = began_s or now_s
        expires_s = int(min(now_s + self._life_s, began_s + MAX_LIFE_S))
        identity = Identity(user, role, session or secrets.token_hex(4), expires_s, kind)
        claims = {
            "iss": self._issuer,
            "sub": user,
            "role": role.text,
            "sid": identity.session,
            "kind": kind,
            "iat": int(now_s),
            "auth_time": int(began_s),
            "exp": expires_s,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), identity

    def verify(self, token: str) -> Identity | None:
        """Whom ``token`` stands for, or ``None``: forged, expired, foreign or logged out."""
        claims = self.claims(token)
        if claims is None:
            return None
        try:
            role = Role.parse(claims["role"])
        except ValueError:
            return None
        return Identity(
            claims["sub"], role, claims["sid"], float(claims["exp"]), str(claims["kind"])
        )

    def claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a good token. Time is the clock's, so that tests can move it."""
        if len(token) > 2048:
            return None
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                options={
                    "require": ["exp", "iat", "iss", "sub", "sid", "role", "kind", "auth_time"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError:
            return None
        strings = all(isinstance(claims[key], str) for key in ("sub", "sid", "role", "kind"))
        if not strings or not isinstance(claims["exp"], int) or claims["exp"] <= self.now_s():
            return None
        return None if claims["sid"] in self._revoked else claims

    def revoke(self, identity: Identity) -> None:
        """This login is over, whatever its token says."""
        self._revoked[identity.session] = self.now_s() + max(self._life_s, 1.0)
        self._revoked = {s: end for s, end in self._revoked.items() if end > self.now_s()}
        write_secret(self._revoked_file, json.dumps(self._revoked) + "\n")

    def revoked(self, identity: Identity) -> bool:
        return identity.session in self._revoked

    def _read_revoked(self) -> dict[str, float]:
        try:
            tree = json.loads(self._revoked_file.read_text(encoding="utf-8"))
            return {str(session): float(end) for session, end in tree.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}


@dataclass
class _Held:
    """One open connection of a login."""

    identity: Identity
    address: str
    since_s: float
    close: Callable[[], None]


class Connections:
    """Long connections (video, NATS) that must end when their login does. Loop thread only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: dict[int, _Held] = {}
        self._expiry: dict[str, float] = {}

    @contextmanager
    def hold(self, identity: Identity, address: str, close: Callable[[], None]) -> Iterator[None]:
        """While inside, ``close()`` is called once the login expires or is logged out."""
        held = _Held(identity, address, self._now_s(), close)
        self._by_id[id(held)] = held
        self.extend(identity)
        handle: asyncio.TimerHandle | None = None
        loop = asyncio.get_running_loop()

        def check() -> None:
            nonlocal handle
            left_s = self._expiry.get(identity.session, 0.0) - self._now_s()
            if left_s <= 0:
                close()
                return
            # The wall clock may step: look again at least once a minute.
            handle = loop.call_later(min(left_s, 60.0), check)

        check()
        try:
            yield
        finally:
            if handle is not None:
                handle.cancel()
            del self._by_id[id(held)]
            if not any(h.identity.session == identity.session for h in self._by_id.values()):
                self._expiry.pop(identity.session, None)

    def extend(self, identity: Identity) -> None:
        """The login lasts at least until ``identity`` says."""
        now = self._expiry.get(identity.session, 0.0)
        self._expiry[identity.session] = max(now, identity.expires_at_s)

    def end(self, session: str) -> None:
        """Close whatever this login has open."""
        for held in list(self._by_id.values()):
            if held.identity.session == session:
                held.close()

    def end_where(self, over: Callable[[Identity], bool]) -> None:
        """Close what belongs to logins of which ``over`` is true."""
        for held in list(self._by_id.values()):
            if over(held.identity):
                held.close()

    def close_all(self) -> None:
        for held in list(self._by_id.values()):
            held.close()

    def rows(self) -> list[dict[str, Any]]:
        """One row a login that has something open."""
        rows: dict[str, dict[str, Any]] = {}
        for held in sorted(self._by_id.values(), key=lambda each: each.since_s):
            who = held.identity
            rows.setdefault(
                who.session,
                {
                    "user": who.user,
                    "role": who.role.text,
                    "session": who.session,
                    "since_s": held.since_s,
                    "address": held.address,
                },
            )
        return list(rows.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def _now_s(self) -> float:
        return self._clock.wall_ns() / NS_PER_S
