"""Which topic goes where, and how: the table of the params file resolved for one topic. Pure.

A topic has two names here: its *path*, relative to the robot's namespace (``camera/front``), so
that one table serves any namespace, and its full name; a pattern may match either. Deny wins over
allow. Among entries that match, an exact name beats a pattern, a longer pattern a shorter one,
then the later label in the alphabet: the order in which a params file is read does not matter.
Hidden topics are for those who name them exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from dialtone_bridge.params import RouteParams
from dialtone_bridge.patterns import Patterns, compile_pattern
from dialtone_core.clock import NS_PER_S
from dialtone_core.delivery import Policy, Priority
from dialtone_core.errors import ConfigError

MIB = 1024 * 1024
#: Every node's, about everything; hidden like a name with a token that begins with ``_``.
PARAMETER_EVENTS = "/parameter_events"
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
    direction: str = "out"
    """``both`` where clients may publish there too."""
    exact: bool = False
    """Made for this topic by name, and not by a pattern."""

    def carries(self, transport: str) -> bool:
        """Whether ``transport`` may carry it."""
        return not self.transports or transport in self.transports

    def as_latched(self) -> Route:
        """The same for a topic whose publishers latch (transient local).

        Each of them has something to say that stays true, so that a rate which a pattern meant
        for streams would lose what never comes again.
        """
        rate_hz = self.max_rate_hz if self.exact else 0.0
        policy = replace(self.policy, max_age_ns=0)
        return replace(self, latched=True, policy=policy, max_rate_hz=rate_hz)


def topic_path(topic: str, namespace: str) -> str:
    """Full ROS name to its path: without the namespace, or whole where it lies elsewhere."""
    prefix = "/" if namespace == "/" else namespace.rstrip("/") + "/"
    return topic[len(prefix) :] if topic.startswith(prefix) else topic


class RouteTable:
    """The resolved table. ``transports`` are those that there can be (none given: any name).

    Raises ``ConfigError`` for a pattern that is none and for an entry that could do nothing.
    """

    def __init__(
        self,
        routes: Mapping[str, RouteParams],
        *,
        allow: Sequence[str] = (".*",),
        deny: Sequence[str] = (),
        commands: Sequence[str] = (),
        namespace: str = "/",
        include_hidden: bool = False,
        transports: Sequence[str] = (),
    ) -> None:
        self.namespace = namespace
        self._allow = Patterns("allow_topics", allow)
        self._deny = Patterns("deny_topics", deny)
        self._commands = Patterns("command_topics", commands)
        self._include_hidden = include_hidden
        self._entries = [_Entry(label, route) for label, route in routes.items()]
        for entry in self._entries:
            entry.check_transports(transports)

    def refusal(self, topic: str) -> str:
        """Why ``topic``, a full ROS name, may not leave; empty where it may."""
        names = self._names(topic)
        entry = self._best(names)
        if self._deny.match(*names):
            return "deny_topics"
        if self._hides(names, entry, self._allow):
            return "hidden"
        if not self._allow.match(*names):
            return "not in allow_topics"
        if entry is not None and entry.route.direction in ("none", "in"):
            return f"route {entry.label}"
        return ""

    def route(self, topic: str, type_name: str) -> Route | None:
        """The route of ``topic`` on its way out, or ``None`` where it may not leave."""
        if self.refusal(topic):
            return None
        names = self._names(topic)
        entry = self._best(names)
        if entry is None:
            made = _resolve("default", RouteParams(), type_name)
        else:
            made = _resolve(entry.label, entry.route, type_name)
        direction = "both" if self.accepts(topic) else "out"
        exact = entry is not None and entry.spells(names)
        return replace(made, direction=direction, exact=exact)

    def accepts(self, topic: str) -> bool:
        """Whether clients may publish on ``topic``, a full ROS name."""
        names = self._names(topic)
        entry = self._best(names)
        direction = entry.route.direction if entry is not None else "auto"
        if self._deny.match(*names) or self._hides(names, entry, self._commands):
            return False
        if direction == "auto":
            return self._commands.match(*names)
        return direction in ("in", "both")

    def entry(self, topic: str) -> RouteParams | None:
        """What the table says of ``topic``, a full ROS name, in either direction."""
        entry = self._best(self._names(topic))
        return entry.route if entry is not None else None

    def _names(self, topic: str) -> tuple[str, str]:
        return topic_path(topic, self.namespace), topic

    def _hides(self, names: tuple[str, str], entry: _Entry | None, named: Patterns) -> bool:
        """Whether it is a hidden topic that neither its entry nor ``named`` has by name."""
        path, topic = names
        if self._include_hidden or not ("/_" in f"/{path}" or topic == PARAMETER_EVENTS):
            return False
        return not (named.spell(*names) or (entry is not None and entry.spells(names)))

    def _best(self, names: tuple[str, str]) -> _Entry | None:
        return max((each for each in self._entries if each.matches(names)),
                   key=lambda each: each.rank(names), default=None)  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    label: str
    route: RouteParams

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return compile_pattern(f"routes.{self.label}.topic", self.route.topic)

    def __post_init__(self) -> None:
        if not self.route.topic:
            raise ConfigError(
                f"routes.{self.label}.topic is empty", fix="give a topic or a regular expression"
            )
        _ = self._pattern  # a wrong one stops the start

    def check_transports(self, known: Sequence[str]) -> None:
        """Raises ``ConfigError`` for a transport that is none, and where none can keep it."""
        name, wanted = f"routes.{self.label}.transports", self.route.transports
        unknown = [each for each in wanted if known and each not in known]
        if unknown:
            raise ConfigError(
                f"{name} is {wanted}, and {unknown[0]!r} is no transport here",
                fix=f"give some of {', '.join(known)}",
            )
        if self.route.durable and wanted and "nats" not in wanted:
            raise ConfigError(
                f"routes.{self.label}.durable is true, but {name} is {wanted}, without nats",
                fix="add nats, which keeps it, or leave durable out",
            )

    def matches(self, names: Sequence[str]) -> bool:
        return self.spells(names) or any(self._pattern.fullmatch(each) for each in names)

    def spells(self, names: Sequence[str]) -> bool:
        """Whether it has the topic by name."""
        return self.route.topic in names

    def rank(self, names: Sequence[str]) -> tuple[bool, int, str]:
        return (self.spells(names), len(self.route.topic), self.label)


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
