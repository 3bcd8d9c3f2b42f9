"""What robots say of themselves, held against what it must be, and who is there by it.

Each start of a robot's bridge has an ``instance`` of its own. A restart brings a new one and the
old one is never heard again; two that alternate are two robots with one name (two cards copied
from one, one key on two machines), of which each takes the other's commands.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson

from dialtone_core.errors import WireError

#: A robot has at most 256 routes in it; ten times that is a mistake.
_MOST_BYTES = 256 * 1024
_NUMBER = (int, float, type(None))
#: Types of what a presence may say; what we do not know is passed on.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "version": str,
    "instance": str,
    "stamp_ns": int,
    "namespace": str,
    "durable": bool,
    "capabilities": list,
    "routes": dict,
    "rtt_ms": _NUMBER,
    "hub_rtt_ms": _NUMBER,
    "ping": int,
}
#: How long a name is said to be taken twice after the last that was heard of it.
_CLASH_S = 60.0
_MOST_INSTANCES = 4


def read_presence(robot: str, data: bytes) -> dict[str, Any]:
    """The presence of ``robot``, by its subject.

    Raises ``WireError`` with ``too_big``, ``not_json``, ``not_object``, ``wrong_robot`` or
    ``wrong_type``.
    """
    if len(data) > _MOST_BYTES:
        raise WireError("too_big", f"{len(data)} bytes")
    try:
        said: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError("not_json", str(error)) from None
    if not isinstance(said, dict):
        raise WireError("not_object")
    if said.get("robot") != robot:
        raise WireError("wrong_robot", f"{str(said.get('robot'))[:64]!r} for {robot}")
    for name in _TYPES.keys() & said.keys():
        value, types = said[name], _TYPES[name]
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise WireError("wrong_type", name)
    return said


@dataclass(slots=True)
class _Known:
    """``instances``: the last few, oldest first."""

    seen_s: float
    instances: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_INSTANCES))
    clash_s: float = float("-inf")


class Roll:
    """Who is there. Times are a monotonic clock's, so that no robot's own clock decides."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._known: dict[str, _Known] = {}

    def seen(self, robot: str, instance: str, now_s: float) -> bool:
        """Note a word of ``robot``; whether another one goes by its name."""
        known = self._known.setdefault(robot, _Known(now_s))
        known.seen_s = now_s
        if instance and (not known.instances or known.instances[-1] != instance):
            if instance in known.instances:  # back after another one: no restart does that
                known.clash_s = now_s
                known.instances.remove(instance)
            known.instances.append(instance)
        return now_s - known.clash_s < _CLASH_S

    def forget(self, robot: str) -> None:
        """It has said that it goes."""
        self._known.pop(robot, None)

    def take_gone(self, now_s: float) -> list[str]:
        """Those that have said nothing for too long, once."""
        gone = [name for name, each in self._known.items() if now_s - each.seen_s > self._ttl_s]
        for name in gone:
            del self._known[name]
        return gone
