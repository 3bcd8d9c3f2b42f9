"""What a transport is tested between, without ROS: a log, an inbound, a source."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from dialtone_bridge.qos import QosPlan
from dialtone_bridge.transports.base import Topic
from dialtone_core.command import Envelope, Twist
from dialtone_core.errors import WireError
from dialtone_core.sample import Sample

STRING = "std_msgs/msg/String"


class Said:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(message)


@dataclass
class Inbox:
    """An ``Inbound`` that takes what is ``allowed`` and refuses the rest."""

    taken: list[tuple[str, bytes]] = field(default_factory=list)
    gone: list[object] = field(default_factory=list)
    allowed: set[str] = field(default_factory=lambda: {"allowed"})

    def accepts(self, path: str) -> bool:
        return path in self.allowed

    def velocity(self, source: str, twist: Twist, envelope: Envelope) -> None:
        self.taken.append(("cmd_vel", b""))

    def message(
        self, path: str, type_name: str, encoding: str, payload: bytes, client: object = None
    ) -> None:
        if not self.accepts(path):
            raise WireError("topic_not_allowed", path)
        if encoding not in ("cdr", "json"):
            raise WireError("unknown_encoding", encoding)
        self.taken.append((path, payload))

    def left(self, client: object) -> None:
        self.gone.append(client)


@dataclass
class Feed:
    """A ``Source`` of samples that a test makes. Its thread is the loop's, and ``post`` waits for
    its turn there, as it does in ROS."""

    open: dict[str, Callable[[list[Sample]], None]] = field(default_factory=dict)
    opened: int = 0
    held: list[Sample] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)

    def post(self, work: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(work)

    def to_json(self, type_name: str, payload: bytes) -> bytes:
        return b"{}"

    def subscribe(self, topic: Topic, on_burst: Callable[[list[Sample]], None]) -> _Tap:
        self.open[topic.name] = on_burst
        self.opened += 1
        return _Tap(self, topic.name)

    def replay(
        self, topic: Topic, on_burst: Callable[[list[Sample]], None], on_end: Callable[[], None]
    ) -> bool:
        if not self.held:
            return False
        on_burst(self.held)
        on_end()
        return True

    def timer(self, work: Callable[[], None]) -> Alarm:
        self.alarms.append(Alarm(work))
        return self.alarms[-1]

    def emit(self, topic: str, *payloads: bytes) -> None:
        """One burst."""
        self.open[topic]([self.sample(topic, each) for each in payloads])

    def sample(self, topic: str, payload: bytes) -> Sample:
        """Numbered and stamped like none before."""
        number = next(self._numbers)
        return Sample(topic, STRING, "cdr", payload, number, number, number)


@dataclass
class Alarm:
    """A timer of a source that rings when the test says so."""

    work: Callable[[], None]
    delay_ns: int | None = None

    def start(self, delay_ns: int) -> None:
        self.delay_ns = delay_ns

    def close(self) -> None:
        self.delay_ns = None

    def ring(self) -> None:
        assert self.delay_ns is not None, "nobody set it"
        self.delay_ns = None
        self.work()


@dataclass
class _Tap:
    feed: Feed
    name: str
    qos: QosPlan | None = None

    def close(self) -> None:
        del self.feed.open[self.name]
