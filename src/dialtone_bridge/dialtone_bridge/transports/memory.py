"""A transport inside the process: for tests, and as the shortest example of what one is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Health, Inbound, SinkStats, Topic, Want
from dialtone_core.delivery import Lane, Outbox, Policy
from dialtone_core.errors import WireError
from dialtone_core.sample import Sample


class MemorySink:
    """One topic; its samples wait for the reader in a lane of the route's policy."""

    def __init__(self, topic: Topic, want: Want, outbox: Outbox[Sample]) -> None:
        self.topic = topic
        self.want = want
        self._outbox = outbox
        self.lane: Lane[Sample] = outbox.open_lane(
            topic.name, topic.route.policy, topic.route.priority
        )

    def put(self, burst: Sequence[Sample]) -> None:
        self.lane.put_all([(each, len(each.payload)) for each in burst])

    def stats(self) -> SinkStats:
        return SinkStats(self.lane.delivered, self.lane.dropped, len(self.lane))

    def close(self) -> None:
        self._outbox.close_lane(self.lane)


class MemoryTransport:
    """See ``base.Transport``. ``subscribe`` and ``send`` are what a remote client would do."""

    name = "memory"

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._outbox: Outbox[Sample] = Outbox()
        self._inbox: Outbox[tuple[str, str, str, bytes]] = Outbox()
        self._commands = self._inbox.open_lane("commands", Policy("queue", 256))
        self.sinks: dict[str, MemorySink] = {}
        self.received: asyncio.Queue[Sample] = asyncio.Queue()
        self.refusals = Refusals()

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._outbox.bind(loop)
        self._inbox.bind(loop)

    async def run(self) -> None:
        await asyncio.gather(self._carry_out(), self._carry_in())

    def attach(self, topic: Topic, want: Want) -> MemorySink:
        self.sinks[topic.path] = MemorySink(topic, want, self._outbox)
        return self.sinks[topic.path]

    def subscribe(self, path: str, wanted: bool = True) -> None:
        """A client wants the topic ``path``, or no longer."""
        self.sinks[path].want(wanted)

    def send(self, path: str, type_name: str, encoding: str, payload: bytes) -> None:
        """A client publishes; judged on the loop as by every transport."""
        self._commands.put((path, type_name, encoding, payload), len(payload))

    def health(self) -> Health:
        return Health(True, "open", {"commands_refused": self.refusals.total()})

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _carry_out(self) -> None:
        while True:
            await self._outbox.wait()
            for _, sample in self._outbox.drain():
                self.received.put_nowait(sample)
            await asyncio.sleep(0)

    async def _carry_in(self) -> None:
        while True:
            await self._inbox.wait()
            for _, command in self._inbox.drain():
                try:
                    self._inbound.message(*command)
                except WireError as error:
                    self.refusals.count(error.reason, error.detail)
            await asyncio.sleep(0)
