"""Tickets: a way in for programs that can neither log in nor send a header, only open an address.

A ticket stands for one login on one path, for a few minutes. It lies in memory only, opens nothing
else, and ends with its login. The Foxglove app is such a program: all that it takes is a URL.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_gateway.roles import Identity

LIFE_S = 600.0
_MOST = 256


class Tickets:
    """``good`` tells whether a login still counts. Loop thread only."""

    def __init__(self, clock: Clock, good: Callable[[Identity], bool]) -> None:
        self._clock = clock
        self._good = good
        self._issued: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    def issue(self, identity: Identity) -> tuple[str, float]:
        """A ticket and when it ends, Unix time; where there are too many the oldest goes."""
        ends_s = min(self._now_s() + LIFE_S, identity.expires_at_s)
        ticket = secrets.token_urlsafe(24)
        self._issued[ticket] = (identity, ends_s)
        while len(self._issued) > _MOST:
            self._issued.popitem(last=False)
        return ticket, ends_s

    def identity(self, ticket: str) -> Identity | None:
        """Whom it stands for now. May be used again, since clients reconnect by themselves."""
        identity, ends_s = self._issued.get(ticket, (None, 0.0))
        if identity is None or ends_s <= self._now_s() or not self._good(identity):
            self._issued.pop(ticket, None)
            return None
        return identity

    def _now_s(self) -> float:
        return self._clock.wall_ns() / NS_PER_S
