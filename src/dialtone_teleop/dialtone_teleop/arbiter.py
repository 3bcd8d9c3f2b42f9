"""Who drives: a table of sources with priority and timeout, and locks. twist_mux's model.

A source is active from its last command until its timeout (or the command's own ttl). The active
source of the highest priority drives; among equals the one that came first keeps driving until it
falls silent. A lock blocks every source of lower priority while it is true, *or silent*: a lost
lock fails closed. Pure; times are monotonic ns; not thread-safe, its owner serialises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dialtone_core.clock import NS_PER_S
from dialtone_core.command import Command
from dialtone_teleop.params import LockParams, SourceParams


@dataclass(slots=True)
class _Source:
    priority: int
    timeout_ns: int
    deadman: bool = False
    until_ns: int = -1
    pressed_until_ns: int = -1

    def let_go(self, now_ns: int) -> bool:
        return self.deadman and self.pressed_until_ns <= now_ns


@dataclass(slots=True)
class _Lock:
    priority: int
    timeout_ns: int
    closed: bool = True
    heard_ns: int | None = None


class Arbiter:
    """Decides whether a command may drive now. A refused command changes nothing."""

    def __init__(
        self, sources: Mapping[str, SourceParams], locks: Mapping[str, LockParams] | None = None
    ) -> None:
        self._sources = {
            name: _Source(each.priority, round(each.timeout_s * NS_PER_S), bool(each.deadman))
            for name, each in sources.items()
        }
        self._locks = {
            name: _Lock(each.priority, round(each.timeout_s * NS_PER_S))
            for name, each in (locks or {}).items()
        }
        self._driver = ""

    def set_lock(self, name: str, closed: bool, now_ns: int) -> None:
        """A lock spoke; raises ``KeyError`` for one that the table does not have."""
        lock = self._locks[name]
        lock.closed = closed
        lock.heard_ns = now_ns

    def set_deadman(self, source: str, pressed: bool, now_ns: int) -> None:
        """The deadman of ``source`` spoke; it counts as pressed for the source's timeout."""
        each = self._sources[source]
        each.pressed_until_ns = now_ns + each.timeout_ns if pressed else now_ns

    def locked_by(self, now_ns: int) -> tuple[str, int]:
        """(name, priority) of the strongest closed lock, or ``("", -1)``."""
        strongest = ("", -1)
        for name, lock in self._locks.items():
            silent = lock.heard_ns is None or (
                lock.timeout_ns > 0 and now_ns - lock.heard_ns > lock.timeout_ns
            )
            if (lock.closed or silent) and lock.priority > strongest[1]:
                strongest = (name, lock.priority)
        return strongest

    def offer(self, command: Command, now_ns: int) -> str:
        """Let ``command``'s source drive until its deadline; "" or the reason of the refusal.

        Reasons: ``unknown_source``, ``expired`` (its ttl has run out), ``deadman`` (not pressed),
        ``locked``, ``outranked``.
        """
        source = self._sources.get(command.source)
        if source is None:
            return "unknown_source"
        until_ns = self.deadline_ns(command)
        if until_ns <= now_ns:
            return "expired"
        if source.let_go(now_ns):
            return "deadman"
        if source.priority < self.locked_by(now_ns)[1]:
            return "locked"
        driver = self.driver(now_ns)
        if driver and driver != command.source:
            current = self._sources[driver]
            if current.priority >= source.priority:
                return "outranked"
        source.until_ns = until_ns
        self._driver = command.source
        return ""

    def deadline_ns(self, command: Command) -> int:
        """When ``command`` stops being good: its source's timeout or its own ttl, the sooner."""
        lasts_ns = self._sources[command.source].timeout_ns
        ttl_ns = command.envelope.ttl_ns
        return command.received_ns + (lasts_ns if ttl_ns is None else min(lasts_ns, ttl_ns))

    def driver(self, now_ns: int) -> str:
        """The source that drives at ``now_ns``, or ""."""
        source = self._sources.get(self._driver)
        return self._driver if source is not None and source.until_ns > now_ns else ""

    def reason_to_stop(self, now_ns: int) -> str:
        """``deadman`` or ``locked`` where the source that drives may not go on, or ""."""
        source = self._sources.get(self._driver)
        if source is not None and source.let_go(now_ns):
            return "deadman"
        free = source is not None and source.priority >= self.locked_by(now_ns)[1]
        return "" if free else "locked"

    def release(self, names: Iterable[str] = ()) -> None:
        """Forget that the named sources (all where none is named) were active."""
        for name in names or tuple(self._sources):
            if name in self._sources:
                self._sources[name].until_ns = -1
