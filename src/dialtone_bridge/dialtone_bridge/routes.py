"""Which topic goes where, and how: the table of the params file resolved for one topic. Pure.

Topic names here are *paths*: relative to the robot's namespace (``camera/front``), or with their
leading slash where they lie outside of it, so that one table serves any namespace. Deny wins over
allow. Among entries that match, an exact name beats a pattern, a longer pattern a shorter one,
then the later label in the alphabet: the order in which a params file is read does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from dialtone_bridge.params import RouteParams
from dialtone_core.clock import NS_PER_S
from dialtone_core.delivery import Policy, Priority
from dialtone_core.errors import ConfigError

MIB = 1024 * 1024
JPEG_CAPABLE = "sensor_msgs/msg/CompressedImage"

#: Types whose messages are big enough to hold up the others.
BULK_TYPES = frozenset(
    {
        JPEG_CAPABLE,
        "sensor_msgs/msg/Image",
        "sensor_msgs/msg/PointCloud2",
        "nav_msgs/msg/OccupancyGrid",
    }
)
EVENT_TYPES = frozenset(
    {
        "diagnostic_msgs/msg/DiagnosticArray",
        "diagnostic_msgs/msg/DiagnosticStatus",
        "rcl_interfaces/msg/Log",
    }
)
QUEUE = Policy("queue", 4096, 16 * MIB)
BULK_QUEUE = Policy("queue", 64, 32 * MIB)
#: What must not be lost waits here while the robot's own server starts again.
DURABLE_QUEUE = Policy("queue", 65_536, 64 * MIB)
#: What waited longer has no worth to somebody who looks: after a stall the picture is current at
#: once, and no flood of old ones comes first.
MAX_AGE_S = {Priority.BULK: 1.0, Priority.TELEMETRY: 5.0}


@dataclass(frozen=True)
class Route:
    """How one topic leaves; see ``RouteParams`` for the meaning of each field."""

    label: str
    encoding: str = "cdr"
    max_rate_hz: float = 0.0
    policy: Policy = QUEUE
    priority: Priority = Priority.TELEMETRY
    reliability: str = "auto"
    durability: str = "auto"
    latched: bool = False
    always: bool = False
    durable: bool = False
    oversize: str = "chunk"
    transports: frozenset[str] = field(default_factory=frozenset)

    def carries(self, transport: str) -> bool:
        """Whether ``transport`` may carry it."""
        return not self.transports or transport in self.transports

    def as_latched(self) -> Route:
        """The same for a topic whose publishers latch (transient local)."""
        return replace(self, latched=True, policy=replace(self.policy, max_age_ns=0))


def topic_path(topic: str, namespace: str) -> str:
    """Full ROS name to the path that the table matches."""
    prefix = "/" if namespace == "/" else namespace.rstrip("/") + "/"
    return topic[len(prefix) :] if topic.startswith(prefix) else topic


class RouteTable:
    """The resolved table. Raises ``ConfigError`` for a pattern that is none."""

    def __init__(
        self,
        routes: Mapping[str, RouteParams],
        *,
        allow: Sequence[str] = (".*",),
        deny: Sequence[str] = (),
        commands: Sequence[str] = (),
        namespace: str = "/",
    ) -> None:
        self.namespace = namespace
        self._allow = _patterns("allow_topics", allow)
        self._deny = _patterns("deny_topics", deny)
        self._commands = _patterns("command_topics", commands)
        self._entries = [_Entry(label, route) for label, route in routes.items()]

    def route(self, topic: str, type_name: str) -> Route | None:
        """The route of ``topic`` on its way out, or ``None`` where it may not leave."""
        path = topic_path(topic, self.namespace)
        if _any(self._deny, path) or not _any(self._allow, path):
            return None
        entry = self._best(path)
        if entry is None:
            return _resolve("default", RouteParams(), type_name)
        if entry.route.direction in ("none", "in"):
            return None
        return _resolve(entry.label, entry.route, type_name)

    def accepts(self, topic: str) -> bool:
        """Whether clients may publish on ``topic``, a full ROS name."""
        path = topic_path(topic, self.namespace)
        if _any(self._deny, path):
            return False
        entry = self._best(path)
        if entry is not None and entry.route.direction == "none":
            return False
        asked = entry is not None and entry.route.direction in ("in", "both")
        return asked or _any(self._commands, path)

    def entry(self, topic: str) -> RouteParams | None:
        """What the table says of ``topic``, a full ROS name, in either direction."""
        entry = self._best(topic_path(topic, self.namespace))
        return entry.route if entry is not None else None

    def _best(self, path: str) -> _Entry | None:
        return max((each for each in self._entries if each.matches(path)),
                   key=lambda each: each.rank(path), default=None)  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    label: str
    route: RouteParams

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _compile(f"routes.{self.label}.topic", self.route.topic)

    def __post_init__(self) -> None:
        if not self.route.topic:
            raise ConfigError(
                f"routes.{self.label}.topic is empty", fix="give a topic or a regular expression"
            )
        _compile(f"routes.{self.label}.topic", self.route.topic)  # a wrong one stops the start

    def matches(self, path: str) -> bool:
        return self.route.topic == path or self._pattern.fullmatch(path) is not None

    def rank(self, path: str) -> tuple[bool, int, str]:
        return (self.route.topic == path, len(self.route.topic), self.label)


def _resolve(label: str, asked: RouteParams, type_name: str) -> Route:
    priority = _priority(asked.priority, type_name)
    return Route(
        label,
        _encoding(asked.encoding, type_name),
        asked.max_rate_hz,
        _policy(asked, type_name, priority),
        priority,
        asked.reliability,
        asked.durability,
        asked.latched,
        asked.always or asked.durable,
        asked.durable,
        asked.oversize,
        frozenset(asked.transports),
    )


def _policy(asked: RouteParams, type_name: str, priority: Priority) -> Policy:
    """The bounds of a lane: those asked for, else the built-in ones. What must arrive, or is true
    until something newer comes, never grows too old."""
    base = BULK_QUEUE if type_name in BULK_TYPES else QUEUE
    if asked.durable:
        base = DURABLE_QUEUE
    lasting = asked.durable or asked.latched
    max_age_s = 0.0 if lasting else asked.max_age_s or MAX_AGE_S.get(priority, 0.0)
    return Policy(
        "latest" if asked.delivery == "latest" else "queue",
        asked.max_messages or base.max_messages,
        asked.max_bytes or base.max_bytes,
        round(max_age_s * NS_PER_S),
    )


def _encoding(asked: str, type_name: str) -> str:
    """``jpeg`` can only be cut out of a CompressedImage; elsewhere it means ``cdr``."""
    if asked in ("auto", "jpeg"):
        return "jpeg" if type_name == JPEG_CAPABLE else "cdr"
    return asked


def _priority(asked: str, type_name: str) -> Priority:
    if asked != "auto":
        return Priority[asked.upper()]
    if type_name in EVENT_TYPES:
        return Priority.EVENT
    return Priority.BULK if type_name in BULK_TYPES else Priority.TELEMETRY


def _patterns(name: str, texts: Sequence[str]) -> list[re.Pattern[str]]:
    return [_compile(f"{name}[{index}]", text) for index, text in enumerate(texts)]


def _compile(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"{name} is {text!r}, no regular expression ({error})", fix="correct the pattern"
        ) from error


def _any(patterns: list[re.Pattern[str]], path: str) -> bool:
    return any(pattern.fullmatch(path) for pattern in patterns)
