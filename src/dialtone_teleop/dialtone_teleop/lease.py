"""Who holds the wheel: one operator at a time, for as long as they keep saying so.

A lease is given to the first who asks, lives ``ttl_s`` unless renewed, and is taken over only by a
higher role. Expiry is a fact of time, not of a timer: every method first asks whether the lease
has run out. Pure; times are monotonic ns; not thread-safe, its owner serialises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dialtone_core.clock import NS_PER_S

MAX_OPERATOR = 64

EventName = Literal["acquired", "released", "expired", "forced"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lease, since when and until when unless renewed (monotonic ns)."""

    operator: str
    role: str
    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """A change to publish. ``holder`` is who has it now ("" = nobody), ``by`` who caused it."""

    event: EventName
    holder: str
    by: str
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Answer:
    """``error`` is "" or a stable token; ``holder`` is who has the lease after the request."""

    error: str
    holder: Holder | None

    @property
    def ok(self) -> bool:
        return not self.error


class Lease:
    """See the module. ``roles`` rise: a later one may force a takeover from an earlier one.

    Errors: ``bad_operator``, ``unknown_role``, ``held`` (by another), ``not_holder``,
    ``role_too_low``.
    """

    def __init__(self, roles: tuple[str, ...], ttl_s: float) -> None:
        if not roles or len(set(roles)) != len(roles):
            raise ValueError("lease roles are given once each, lowest first")
        self.ttl_ns = round(ttl_s * NS_PER_S)
        self._ranks = {role: rank for rank, role in enumerate(roles)}
        self._holder: Holder | None = None
        self._events: list[LeaseEvent] = []

    def holder(self, now_ns: int) -> Holder | None:
        """Who may drive at ``now_ns``."""
        self._expire(now_ns)
        return self._holder

    def holds(self, operator: str, now_ns: int) -> bool:
        holder = self.holder(now_ns)
        return holder is not None and holder.operator == operator

    def acquire(self, operator: str, role: str, now_ns: int) -> Answer:
        """Take a free lease; the holder's own request renews it."""
        error = self._refuse(operator, role)
        holder = self.holder(now_ns)
        if error or (holder is not None and holder.operator != operator):
            return Answer(error or "held", holder)
        if holder is not None:
            return self.renew(operator, now_ns)
        return self._give(operator, role, now_ns, "acquired")

    def renew(self, operator: str, now_ns: int) -> Answer:
        """Keep it for another ttl. An expired lease is not renewed: acquire it anew."""
        holder = self.holder(now_ns)
        if holder is None or holder.operator != operator:
            return Answer("not_holder", holder)
        self._holder = Holder(operator, holder.role, holder.since_ns, now_ns + self.ttl_ns)
        return Answer("", self._holder)

    def release(self, operator: str, now_ns: int) -> Answer:
        """Let go. Only the holder can."""
        holder = self.holder(now_ns)
        if holder is None or holder.operator != operator:
            return Answer("not_holder", holder)
        self._holder = None
        self._events.append(LeaseEvent("released", "", operator, now_ns))
        return Answer("", None)

    def force(self, operator: str, role: str, now_ns: int) -> Answer:
        """Take it from whoever holds it, with a role above theirs."""
        error = self._refuse(operator, role)
        holder = self.holder(now_ns)
        if error:
            return Answer(error, holder)
        if holder is None or holder.operator == operator:
            return self.acquire(operator, role, now_ns)
        if self._ranks[role] <= self._ranks[holder.role]:
            return Answer("role_too_low", holder)
        return self._give(operator, role, now_ns, "forced")

    def take_events(self, now_ns: int) -> list[LeaseEvent]:
        """What changed since the last call, oldest first."""
        self._expire(now_ns)
        events, self._events = self._events, []
        return events

    def _refuse(self, operator: str, role: str) -> str:
        if not operator or len(operator) > MAX_OPERATOR or not operator.isprintable():
            return "bad_operator"
        return "" if role in self._ranks else "unknown_role"

    def _give(self, operator: str, role: str, now_ns: int, event: EventName) -> Answer:
        self._holder = Holder(operator, role, now_ns, now_ns + self.ttl_ns)
        self._events.append(LeaseEvent(event, operator, operator, now_ns))
        return Answer("", self._holder)

    def _expire(self, now_ns: int) -> None:
        holder = self._holder
        if holder is not None and now_ns >= holder.until_ns:
            self._holder = None
            self._events.append(LeaseEvent("expired", "", holder.operator, holder.until_ns))
