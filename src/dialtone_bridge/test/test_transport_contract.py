"""What every transport keeps to, seen through a client of each kind. No ROS in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from bridge_rig import Child, Rig, until

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.params import RouteParams
from dialtone_bridge.qos import QosPlan
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.base import Topic, Transport
from dialtone_bridge.transports.foxglove import FoxgloveSettings, FoxgloveTransport
from dialtone_bridge.transports.memory import MemoryTransport
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core.aio import end_task
from dialtone_core.command import Envelope, Twist
from dialtone_core.errors import WireError
from dialtone_core.natslink import connect
from dialtone_core.sample import Sample

STRING = "std_msgs/msg/String"
KINDS = ["memory", "nats", "foxglove"]


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
        self.taken.append((path, payload))

    def left(self, client: object) -> None:
        self.gone.append(client)


@dataclass
class Feed:
    """A ``Source`` of samples that a test makes; ``post`` runs at once."""

    open: dict[str, Callable[[list[Sample]], None]] = field(default_factory=dict)
    opened: int = 0
    held: list[Sample] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)

    def post(self, work: Callable[[], None]) -> None:
        work()

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

    def emit(self, topic: str, payload: bytes, seq: int = 0) -> None:
        self.open[topic]([Sample(topic, STRING, "cdr", payload, 1, 2, seq)])


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


class Client(Protocol):
    """The far end of a transport: subscribe, receive, send."""

    async def subscribe(self, path: str) -> None: ...

    async def unsubscribe(self) -> None: ...

    async def receive(self) -> bytes: ...

    async def send(self, path: str, payload: bytes) -> None: ...


class MemoryClient:
    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._path = ""

    async def subscribe(self, path: str) -> None:
        self._path = path
        self._transport.subscribe(path)

    async def unsubscribe(self) -> None:
        self._transport.subscribe(self._path, False)

    async def receive(self) -> bytes:
        return (await asyncio.wait_for(self._transport.received.get(), 5)).payload

    async def send(self, path: str, payload: bytes) -> None:
        self._transport.send(path, STRING, "cdr", payload)


class NatsClient:
    def __init__(self, client: Any, robot: str) -> None:
        self._client = client
        self._robot = robot
        self._inbox: Any = None

    async def subscribe(self, path: str) -> None:
        self._inbox = await self._client.subscribe(f"dt.{self._robot}.tlm.{path}")
        await self._client.flush()

    async def unsubscribe(self) -> None:
        await self._inbox.unsubscribe()
        await self._client.flush()

    async def receive(self) -> bytes:
        return bytes((await self._inbox.next_msg(timeout=5)).data)

    async def send(self, path: str, payload: bytes) -> None:
        headers = {"Dt-Type": STRING, "Dt-Encoding": "cdr"}
        await self._client.publish(f"dt.{self._robot}.cmd.{path}", payload, headers=headers)


class FoxClient:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._subscription = 0
        self._channels: dict[str, int] = {}

    async def subscribe(self, path: str) -> None:
        self._subscription = await self._client.subscribe(f"/{path}")

    async def unsubscribe(self) -> None:
        await self._client.unsubscribe(self._subscription)

    async def receive(self) -> bytes:
        return bytes((await self._client.receive(5)).payload)

    async def send(self, path: str, payload: bytes) -> None:
        if path not in self._channels:
            self._channels[path] = await self._client.advertise(f"/{path}", STRING, "cdr")
        await self._client.publish(self._channels[path], payload)


@dataclass
class Line:
    """A running transport, its exchange and a client at its far end."""

    transport: Transport
    exchange: Exchange
    feed: Feed
    inbox: Inbox
    client: Client


@asynccontextmanager
async def far_end(transport: Any, rig: Rig) -> AsyncIterator[Client]:
    if isinstance(transport, MemoryTransport):
        yield MemoryClient(transport)
    elif isinstance(transport, NatsTransport):
        client = await connect(rig.nats_url, "far end")
        yield NatsClient(client, rig.robot)
        await client.close()
    else:
        async with open_client(transport.url) as viewer:
            yield FoxClient(viewer)


async def make(kind: str, rig: Rig, inbox: Inbox) -> Transport:
    if kind == "memory":
        return MemoryTransport(inbox)
    if kind == "foxglove":
        return FoxgloveTransport(FoxgloveSettings(rig.robot, port=0), inbox, Said())
    server: Child = rig.start_server()
    await until(lambda: "Server is ready" in server.text())
    return NatsTransport(NatsSettings(rig.robot, rig.nats_url), inbox, Said())


@asynccontextmanager
async def line(kind: str, rig: Rig, **routes: RouteParams) -> AsyncIterator[Line]:
    inbox, feed = Inbox(), Feed()
    transport = await make(kind, rig, inbox)
    exchange = Exchange(feed, [transport], RouteTable(routes))
    await transport.open()
    running = asyncio.create_task(transport.run())
    try:
        async with far_end(transport, rig) as client:
            if isinstance(transport, NatsTransport):
                await until(lambda: transport.health().values["interest"] == "watched")
            yield Line(transport, exchange, feed, inbox, client)
    finally:
        await end_task(running)
        await transport.aclose()
        await transport.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_arrive_as_they_left_and_in_order(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        each.exchange.found("/chatter", STRING, "string data\n")
        await each.client.subscribe("chatter")
        await until(lambda: "/chatter" in each.feed.open)
        sent = [bytes([0, 1, 0, 0, index]) * 50 for index in range(100)]
        for index, payload in enumerate(sent):
            each.feed.emit("/chatter", payload, index)
        assert [await each.client.receive() for _ in sent] == sent
        row = each.exchange.reports()[0]
        assert row.stats.messages == 100
        assert row.sinks[each.transport.name].sent == 100
        assert row.sinks[each.transport.name].dropped == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_subscribed_that_nobody_wants(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        each.exchange.found("/chatter", STRING, "string data\n")
        each.exchange.found("/gossip", STRING, "string data\n")
        await each.client.subscribe("chatter")
        await until(lambda: "/chatter" in each.feed.open)
        assert "/gossip" not in each.feed.open
        await each.client.unsubscribe()
        await until(lambda: not each.feed.open)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_route_that_is_always_wanted_is_subscribed_at_once(kind: str, rig: Rig) -> None:
    async with line(kind, rig, a=RouteParams(topic="chatter", always=True)) as each:
        each.exchange.found("/chatter", STRING, "string data\n")
        assert "/chatter" in each.feed.open
        each.exchange.gone("/chatter")
        assert each.feed.open == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_late_client_gets_what_is_latched(kind: str, rig: Rig) -> None:
    routes = {"a": RouteParams(topic="map", always=True, latched=True)}
    async with line(kind, rig, **routes) as each:
        each.exchange.found("/map", STRING, "string data\n")
        each.feed.emit("/map", b"\0\1\0\0first")
        each.feed.emit("/map", b"\0\1\0\0last")
        await each.client.subscribe("map")
        assert await each.client.receive() == b"\0\1\0\0last"


@pytest.mark.parametrize("kind", ["memory", "foxglove"])
async def test_a_late_client_gets_what_each_publisher_holds(kind: str, rig: Rig) -> None:
    routes = {"a": RouteParams(topic="map", always=True, latched=True)}
    async with line(kind, rig, **routes) as each:
        each.exchange.found("/map", STRING, "string data\n")
        each.feed.emit("/map", b"\0\1\0\0last")
        bodies = [b"\0\1\0\0one", b"\0\1\0\0two"]
        each.feed.held = [Sample("/map", STRING, "cdr", body, 1, 2, 0) for body in bodies]
        await each.client.subscribe("map")
        assert [await each.client.receive() for _ in bodies] == bodies


@pytest.mark.parametrize("kind", KINDS)
async def test_a_topic_that_changes_its_type_starts_anew(kind: str, rig: Rig) -> None:
    async with line(kind, rig, a=RouteParams(topic="chatter", always=True)) as each:
        each.exchange.found("/chatter", STRING, "string data\n")
        each.exchange.found("/chatter", STRING, "string data\n")
        assert each.feed.opened == 1
        each.exchange.found("/chatter", "std_msgs/msg/Int8", "int8 data\n")
        assert each.feed.opened == 2
        assert [row.type for row in each.exchange.reports()] == ["std_msgs/msg/Int8"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_clients_send_is_taken_or_refused_by_name(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        await each.client.send("forbidden", b"\0\1\0\0x")
        await each.client.send("allowed", b"\0\1\0\0y")
        await until(lambda: each.inbox.taken)
        assert each.inbox.taken == [("allowed", b"\0\1\0\0y")]
        await until(lambda: each.transport.health().values["commands_refused"] == 1)
        assert each.transport.health().ok


@pytest.mark.parametrize("kind", KINDS)
async def test_a_capped_route_skips_and_counts_and_ends_with_the_newest(
    kind: str, rig: Rig
) -> None:
    routes = {"a": RouteParams(topic="chatter", max_rate_hz=1.0)}
    async with line(kind, rig, **routes) as each:
        each.exchange.found("/chatter", STRING, "string data\n")
        await each.client.subscribe("chatter")
        await until(lambda: "/chatter" in each.feed.open)
        for index in range(10):
            each.feed.emit("/chatter", b"\0\1\0\0" + bytes([index]))
        each.feed.alarms[0].ring()
        assert [(await each.client.receive())[-1] for _ in range(2)] == [0, 9]
        row = each.exchange.reports()[0]
        assert (row.stats.messages, row.stats.skipped) == (10, 8)
        assert row.sinks[each.transport.name].sent == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_what_publishers_latch_is_thinned_by_name_only(kind: str, rig: Rig) -> None:
    routes = {
        "some": RouteParams(topic="tf_.*", always=True, max_rate_hz=1.0),
        "map": RouteParams(topic="map", always=True, max_rate_hz=1.0),
    }
    async with line(kind, rig, **routes) as each:
        each.exchange.found("/tf_static", STRING, "string data\n", latched=True)
        each.exchange.found("/map", STRING, "string data\n", latched=True)
        for index in range(3):
            each.feed.emit("/tf_static", b"\0\1\0\0", index)
            each.feed.emit("/map", b"\0\1\0\0", index)
        reports = {row.topic: row for row in each.exchange.reports()}
        assert reports["/tf_static"].stats.skipped == 0
        assert reports["/tf_static"].route.max_rate_hz == 0
        assert reports["/map"].stats.skipped == 1  # one went, one waits
        each.exchange.gone("/map")
        assert each.feed.alarms[0].delay_ns is None
        assert reports["/map"].stats.skipped == 2
