"""A cleared e-stop must not set off a robot whose operator still holds the key.

Whoever asked for motion last, and has not let go since, is refused (``not_neutral``) until it sent
a zero. A sender without a name may also have let go by falling silent, because Foxglove's Teleop
panel sends nothing on release; a named one must say so. Pure; monotonic ns; not thread-safe.
"""

from __future__ import annotations

from typing import TypeVar

from dialtone_core.command import Command

#: Longer than the 1 s between two messages of a Teleop panel whose button is held.
RELEASED_NS = 1_500_000_000
MAX_SENDERS = 64

_Key = tuple[str, str]
_Value = TypeVar("_Value")


class Neutral:
    """Remembers who asks for motion, from every well-formed command, refused or not."""

    def __init__(self) -> None:
        self._moving: dict[_Key, int] = {}
        self._rested: dict[_Key, None] = {}
        self._held: set[_Key] = set()
        self._cleared_ns: int | None = None

    def cleared(self, now_ns: int) -> None:
        """The e-stop was cleared: who asks for motion now must let go first."""
        self._held = {
            key for key, heard_ns in self._moving.items() if not _let_go(key, heard_ns, now_ns)
        }
        self._cleared_ns = now_ns

    def refuse(self, command: Command, now_ns: int) -> str:
        """Hear ``command``; ``not_neutral`` or ""."""
        key = (command.source, command.envelope.operator)
        heard_ns = self._moving.pop(key, None)
        if command.is_zero():
            self._held.discard(key)
            self._rested.pop(key, None)
            _remember(self._rested, key, None)
            return ""
        if heard_ns is not None and _let_go(key, heard_ns, now_ns):
            self._held.discard(key)
        elif heard_ns is None and key not in self._rested and self._just_cleared(now_ns):
            # Never heard: after a restart of this node that is somebody who held the key over it.
            self._held.add(key)
        self._rested.pop(key, None)
        _remember(self._moving, key, now_ns)
        return "not_neutral" if key in self._held else ""

    def _just_cleared(self, now_ns: int) -> bool:
        return self._cleared_ns is not None and now_ns - self._cleared_ns < RELEASED_NS


def _let_go(key: _Key, heard_ns: int, now_ns: int) -> bool:
    return not key[1] and now_ns - heard_ns >= RELEASED_NS


def _remember(into: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    into[key] = value
    if len(into) > MAX_SENDERS:
        del into[next(iter(into))]
