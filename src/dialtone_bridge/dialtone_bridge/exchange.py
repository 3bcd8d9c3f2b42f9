"""Which topics there are, who wants them, and where their samples go. Free of ROS.

Everything here happens in the source's thread, so that nothing needs a lock: what transports call
from elsewhere (``want``) is posted there. A topic is subscribed while at least one transport wants
it or its route says ``always``, and not a moment longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dialtone_bridge.latecomers import Latecomers
from dialtone_bridge.qos import QosPlan
from dialtone_bridge.routes import Route, RouteTable, topic_path
from dialtone_bridge.stats import FlowStats
from dialtone_bridge.thinning import Thinner, Timer
from dialtone_bridge.transports.base import Give, Sink, SinkStats, Topic, Transport
from dialtone_core.sample import Sample


class Subscription(Protocol):
    @property
    def qos(self) -> QosPlan | None:
        """What is asked of the publishers; ``None`` where there is no such thing."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where samples come from."""

    def post(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the source's thread soon; from any thread."""

    def to_json(self, type_name: str, payload: bytes) -> bytes:
        """CDR to JSON text; from any thread; raises ``WireError``."""

    def subscribe(
        self, topic: Topic, on_burst: Callable[[list[Sample]], None]
    ) -> Subscription: ...

    def replay(
        self,
        topic: Topic,
        on_burst: Callable[[list[Sample]], None],
        on_end: Callable[[], None],
    ) -> bool:
        """Give what the publishers of a latched topic hold, until ``on_end``; ``False`` (and
        nothing) where none of them latches."""

    def timer(self, work: Callable[[], None]) -> Timer:
        """A timer that runs ``work`` in the source's thread; it costs nothing until it starts."""


@dataclass(frozen=True, slots=True)
class FlowReport:
    """One row of ``dialtone routes``."""

    topic: str
    type: str
    route: Route
    subscribed: bool
    wanted: frozenset[str]
    """Transports that want it now."""
    stats: FlowStats
    sinks: dict[str, SinkStats]
    qos: QosPlan | None
    """In force; ``None`` while not subscribed."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A topic that may not leave: ``hidden``, ``deny_topics``, ``not in allow_topics``, or
    ``route <label>`` for an entry that lets it not out."""

    topic: str
    type: str
    reason: str


class Flow:
    """One topic on its way out to every transport that carries it."""

    def __init__(
        self,
        about: Callable[[Callable[[Give], None]], Topic],
        source: Source,
        latched: bool = False,
    ) -> None:
        """``latched``: by a publisher, whatever the route says."""
        self._held = latched
        self.topic = about(self._replay_later)
        self.stats = FlowStats()
        self.sinks: dict[str, Sink] = {}
        self._source = source
        route = self.topic.route
        self._thinner: Thinner | None = None
        if route.max_rate_hz:
            self._thinner = Thinner(route.max_rate_hz, self.stats, source.timer, self._hand_on)
        self._wanted: set[str] = {"always"} if route.always else set()
        self._active: tuple[Sink, ...] = ()
        self._late = Latecomers(partial(source.replay, self.topic))
        self._subscription: Subscription | None = None

    def is_of(self, type_name: str, latched: bool) -> bool:
        """Whether it is what the graph says of the topic now."""
        return (self.topic.type, self._held) == (type_name, latched)

    def open(self, transports: Sequence[Transport]) -> None:
        for transport in transports:
            if self.topic.route.carries(transport.name):
                want = partial(self._want_later, transport.name)
                self.sinks[transport.name] = transport.attach(self.topic, want)
        self._follow()

    def close(self) -> None:
        self._wanted.clear()
        self._follow()
        for sink in self.sinks.values():
            sink.close()
        self.sinks.clear()

    def report(self) -> FlowReport:
        sinks = {name: sink.stats() for name, sink in dict(self.sinks).items()}
        topic, subscription = self.topic, self._subscription
        return FlowReport(
            topic.name,
            topic.type,
            topic.route,
            subscription is not None,
            frozenset(self._wanted),
            self.stats,
            sinks,
            subscription.qos if subscription is not None else None,
        )

    def _want_later(self, name: str, wanted: bool) -> None:
        self._source.post(partial(self._want, name, wanted))

    def _want(self, name: str, wanted: bool) -> None:
        sink = self.sinks.get(name)
        if sink is None:  # the topic went while this waited
            return
        if not wanted:
            self._wanted.discard(name)
        elif name not in self._wanted:
            self._wanted.add(name)
            self._replay(sink.put)
        self._follow()

    def _replay_later(self, give: Give) -> None:
        self._source.post(partial(self._replay, give))

    def _replay(self, give: Give) -> None:
        """To one who joins what others have had already."""
        if not self.topic.route.latched or self._subscription is None:
            return  # DDS itself gives what is latched to a subscription that is new
        self._late.join(give)

    def _follow(self) -> None:
        """Have a subscription if and only if somebody wants the topic."""
        self._active = tuple(sink for name, sink in self.sinks.items() if name in self._wanted)
        if self._wanted and self._subscription is None:
            self._subscription = self._source.subscribe(self.topic, self._on_burst)
        elif not self._wanted and self._subscription is not None:
            self._subscription.close()
            self._subscription = None
            self._late.forget()
            if self._thinner is not None:
                self._thinner.drop()

    def _on_burst(self, burst: list[Sample]) -> None:
        self.stats.count(burst, time.monotonic_ns())
        if self._thinner is not None:
            burst = self._thinner.thin(burst)
        if burst:
            self._hand_on(burst)

    def _hand_on(self, burst: list[Sample]) -> None:
        if self.topic.route.latched:
            self._late.saw(burst)
        for sink in self._active:
            sink.put(burst)


class Exchange:
    """All flows. ``found`` and ``gone`` come from the source, in its thread."""

    def __init__(self, source: Source, transports: Sequence[Transport], table: RouteTable) -> None:
        self._source = source
        self._transports = transports
        self._table = table
        self._flows: dict[str, Flow] = {}
        self._denied: dict[str, Denied] = {}

    def admits(self, name: str, type_name: str) -> bool:
        """Whether the topic, of which somebody asks at each look, may leave at all."""
        if name in self._flows:
            return True
        if name not in self._denied:
            reason = self._table.refusal(name)
            if not reason:
                return True
            self._denied[name] = Denied(name, type_name, reason)
        return False

    def type_of(self, name: str) -> str:
        """The type that a topic has for us, empty where we do not know it."""
        known = self._flows.get(name)
        return known.topic.type if known is not None else ""

    def found(self, name: str, type_name: str, definition: str, latched: bool = False) -> None:
        """A topic is there, perhaps with another type than before; ``latched`` by a publisher."""
        known = self._flows.get(name)
        if known is not None and known.is_of(type_name, latched):
            return
        route = self._table.route(name, type_name)
        if known is not None:
            self.gone(name)
        if route is None:
            return
        if latched:
            route = route.as_latched()
        path = topic_path(name, self._table.namespace)
        to_json = partial(self._source.to_json, type_name)
        about = partial(Topic, name, path, type_name, definition, route, to_json)
        flow = Flow(about, self._source, latched)
        self._flows[name] = flow
        flow.open(self._transports)

    def gone(self, name: str) -> None:
        """Nobody publishes the topic any more."""
        self._denied.pop(name, None)
        flow = self._flows.pop(name, None)
        if flow is not None:
            flow.close()

    def reports(self) -> list[FlowReport]:
        """A row for each topic, by name. From any thread."""
        flows = dict(self._flows)
        return [flows[name].report() for name in sorted(flows)]

    def denied(self) -> list[Denied]:
        """Topics that somebody publishes and that may not leave, by name. From any thread."""
        denied = dict(self._denied)
        return [denied[name] for name in sorted(denied)]

    def measure(self) -> None:
        """Take the rates since the last call; once a second or slower."""
        now_ns = time.monotonic_ns()
        for flow in self._flows.values():
            flow.stats.measure(now_ns)

    def close(self) -> None:
        for name in list(self._flows):
            self.gone(name)
