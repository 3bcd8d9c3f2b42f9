"""Topics to clients, for a transport that talks to each of its clients itself.

A client is the outbox that its messages wait in: a lane for each topic, with the bounds and the
priority of its route. So a slow client loses only its own, and a big topic starves no small one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dialtone_bridge.transports.base import SinkStats, Topic, Want
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.sample import Sample

Client = Outbox[Sample]
Items = list[tuple[Sample, int]]


class FanOut:
    """See ``base.Sink``: one topic, and those who get it. Made by a ``Switchboard``."""

    def __init__(self, topic: Topic, want: Want, on_close: Callable[[FanOut], None]) -> None:
        self.topic = topic
        self._want = want
        self._on_close = on_close
        self._lanes: dict[Client, Lane[Sample]] = {}
        self._gone = SinkStats()

    def put(self, burst: Sequence[Sample]) -> None:
        items = [(each, len(each.payload)) for each in burst]
        for lane in self._lanes.values():  # replaced, never changed
            lane.put_all(items)

    def stats(self) -> SinkStats:
        """Of all clients, those who left too."""
        lanes, gone = self._lanes.values(), self._gone
        return SinkStats(
            gone.sent + sum(each.delivered for each in lanes),
            gone.dropped + sum(each.dropped for each in lanes),
            sum(len(each) for each in lanes),
            len(lanes),
        )

    def close(self) -> None:
        self._on_close(self)

    def join(self, client: Client) -> None:
        """The switchboard holds its lock. Of a latched topic the newcomer alone gets the past."""
        if client in self._lanes:
            return
        route = self.topic.route
        lane = client.open_lane(self.topic.path, route.policy, route.priority)
        first = not self._lanes
        self._lanes = {**self._lanes, client: lane}
        if first:
            self._want(True)
        elif route.latched:
            self.topic.replay(lambda burst: lane.put_all([(s, len(s.payload)) for s in burst]))

    def leave(self, client: Client) -> None:
        """The switchboard holds its lock."""
        lane = self._lanes.get(client)
        if lane is None:
            return
        self._lanes = {each: kept for each, kept in self._lanes.items() if each is not client}
        dropped = lane.dropped + len(lane)
        self._gone = SinkStats(self._gone.sent + lane.delivered, self._gone.dropped + dropped)
        client.close_lane(lane)
        if not self._lanes:
            self._want(False)


class Switchboard:
    """All topics and all clients of one transport; a client may want what is not there yet.

    ``attach`` and what closes a sink run in the source's thread, the rest anywhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: dict[str, FanOut] = {}
        self._wishes: dict[Client, set[str]] = {}

    def attach(self, topic: Topic, want: Want) -> FanOut:
        """The sink of ``topic``, for ``Transport.attach``."""
        sink = FanOut(topic, want, self._detach)
        with self._lock:
            self._sinks[topic.path] = sink
            for client, wishes in self._wishes.items():
                if topic.path in wishes:
                    sink.join(client)
        return sink

    def subscribe(self, client: Client, path: str) -> None:
        """Give ``client`` the topic ``path``, now or when it comes."""
        with self._lock:
            self._wishes.setdefault(client, set()).add(path)
            if path in self._sinks:
                self._sinks[path].join(client)

    def unsubscribe(self, client: Client, path: str) -> None:
        with self._lock:
            self._wishes.get(client, set()).discard(path)
            if path in self._sinks:
                self._sinks[path].leave(client)

    def drop(self, client: Client) -> None:
        """``client`` is gone; idempotent."""
        with self._lock:
            for path in self._wishes.pop(client, ()):
                if path in self._sinks:
                    self._sinks[path].leave(client)

    def _detach(self, sink: FanOut) -> None:
        with self._lock:
            if self._sinks.get(sink.topic.path) is sink:
                del self._sinks[sink.topic.path]
            for client in list(sink._lanes):
                sink.leave(client)
