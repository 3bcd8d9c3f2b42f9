"""What those find who come late to NATS, and who pays for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
from bridge_rig import Rig, until
from feed_rig import STRING, Feed, Inbox, Said

from dialtone_bridge.exchange import Exchange
from dialtone_bridge.params import RouteParams
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.base import Topic
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core.aio import end_task
from dialtone_core.natsaccess import last_bucket
from dialtone_core.natslink import connect
from dialtone_core.ports import is_free
from dialtone_core.sample import Sample


class Line:
    """A NATS transport on a server, what it is fed with, and somebody who comes late."""

    def __init__(self, rig: Rig, feed: Feed, routes: dict[str, RouteParams]) -> None:
        self.feed = feed
        self.log = Said()
        self.inbox = Inbox()
        settings = NatsSettings(rig.robot, rig.nats_url)
        self.transport = NatsTransport(settings, self.inbox, self.log)
        self.exchange = Exchange(feed, [self.transport], RouteTable(routes))
        self.client: Any = None
        self._bucket = f"KV_{last_bucket(rig.robot)}"

    async def last(self, key: str) -> bytes | None:
        """The newest message that the bucket has under ``key``, or ``None``."""
        subject = f"$KV.{self._bucket[3:]}.{key}"
        asked = f"$JS.API.DIRECT.GET.{self._bucket}.{subject}"
        try:
            got = await self.client.request(asked, b"", timeout=3)
        except nats.errors.NoRespondersError:  # the server is new, and the bucket not there yet
            return None
        headers = got.headers or {}
        missing = headers.get("Status") == "404" or headers.get("KV-Operation") == "DEL"
        return None if missing else bytes(got.data)

    async def until_last(self, key: str, expected: bytes | None) -> None:
        deadline_s = time.monotonic() + 10
        while (found := await self.last(key)) != expected:
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(0.05)


@asynccontextmanager
async def line(rig: Rig, feed: Feed | None = None, **routes: RouteParams) -> AsyncIterator[Line]:
    server = rig.start_server()
    await until(lambda: not is_free(rig.port))
    await until(lambda: "Server is ready" in server.text())
    made = Line(rig, feed or Feed(), routes)
    await made.transport.open()
    running = asyncio.create_task(made.transport.run())
    made.client = await connect(rig.nats_url, "late")
    await until(lambda: made.transport.health().values["jetstream"] == "ready")
    await until(lambda: made.transport.health().values["interest"] == "watched")
    yield made
    await made.client.close()
    await end_task(running)
    await made.transport.aclose()


async def test_what_is_latched_and_capped_by_name_ends_with_the_newest(rig: Rig) -> None:
    async with line(rig, m=RouteParams(topic="mode", latched=True, max_rate_hz=1.0)) as each:
        each.exchange.found("/mode", STRING, "string data\n", latched=True)
        await until(lambda: "/mode" in each.feed.open)
        for body in (b"one", b"two", b"three"):
            each.feed.emit("/mode", body)
        await each.until_last("mode", b"one")
        each.feed.alarms[0].ring()
        await each.until_last("mode", b"three")


async def test_the_newest_of_a_latest_route_is_there_though_nobody_looked(rig: Rig) -> None:
    async with line(rig, m=RouteParams(topic="mode", delivery="latest")) as each:
        each.exchange.found("/mode", STRING, "string data\n")
        await until(lambda: "/mode" in each.feed.open)
        for body in (b"one", b"two", b"three"):  # a burst, then silence
            each.feed.emit("/mode", body)
            await asyncio.sleep(0)
        await each.until_last("mode", b"three")


async def test_what_is_latched_goes_with_its_topic(rig: Rig) -> None:
    async with line(rig, m=RouteParams(topic="map", latched=True)) as each:
        each.exchange.found("/map", STRING, "string data\n")
        await until(lambda: "/map" in each.feed.open)
        each.feed.emit("/map", b"walls")
        await each.until_last("map", b"walls")
        each.exchange.gone("/map")
        await each.until_last("map", None)


async def test_a_server_that_keeps_nothing_is_no_reason_to_subscribe(rig: Rig) -> None:
    async with line(rig, m=RouteParams(topic="map", latched=True)) as each:
        await each.transport._on_buckets(False)
        each.exchange.found("/map", STRING, "string data\n")
        await asyncio.sleep(0.05)
        assert each.feed.open == {}
        await each.client.subscribe(f"dt.{rig.robot}.tlm.>")
        await until(lambda: "/map" in each.feed.open)


async def test_a_message_too_big_for_the_bucket_is_said_and_counted(rig: Rig) -> None:
    async with line(rig, m=RouteParams(topic="map", latched=True)) as each:
        each.exchange.found("/map", STRING, "string data\n")
        await until(lambda: "/map" in each.feed.open)
        each.feed.emit("/map", bytes(9_000_000))
        await until(lambda: each.transport.health().values["last_too_big"] == 1)
        assert any("is not kept for those who come late" in text for text in each.log.lines)


async def test_what_is_latched_while_the_server_is_away_is_told_when_it_is_back(rig: Rig) -> None:
    words = RouteParams(topic="words", latched=True, encoding="json")
    async with line(rig, m=RouteParams(topic="map", latched=True), w=words) as each:
        inbox = await each.client.subscribe(f"dt.{rig.robot}.tlm.>")
        for name in ("map", "words"):
            each.exchange.found(f"/{name}", STRING, "string data\n")
        await until(lambda: len(each.feed.open) == 2)
        each.feed.emit("/map", b"walls")
        assert (await inbox.next_msg(timeout=5)).data == b"walls"
        rig.children[0].stop()
        await until(lambda: not each.transport.health().ok)
        for body in (b"more walls", b"all walls"):
            each.feed.emit("/map", body)
            each.feed.emit("/words", body)
        await asyncio.sleep(0.2)
        rig.start_server()
        await each.until_last("map", b"all walls")
        await each.until_last("words", b"{}")
        assert each.transport.health().values["sent"] == 3


class SlowWords(Feed):
    """A source whose messages take long to become JSON."""

    def to_json(self, type_name: str, payload: bytes) -> bytes:
        time.sleep(0.3)
        return b'{"data":"%b"}' % payload


async def test_a_message_that_is_slow_to_decode_holds_up_no_command_and_no_other_topic(
    rig: Rig,
) -> None:
    slow = RouteParams(topic="slow", encoding="json")
    async with line(rig, SlowWords(), s=slow) as each:
        inbox = await each.client.subscribe(f"dt.{rig.robot}.tlm.>")
        for name in ("slow", "quick"):
            each.exchange.found(f"/{name}", STRING, "string data\n")
        await until(lambda: len(each.feed.open) == 2)
        began_s = time.monotonic()
        for _ in range(5):
            each.feed.emit("/slow", b"words")
        each.feed.emit("/quick", b"now")
        headers = {"Dt-Type": STRING, "Dt-Encoding": "cdr"}
        await each.client.publish(f"dt.{rig.robot}.cmd.allowed", b"go", headers=headers)
        await until(lambda: each.inbox.taken)
        got = [await inbox.next_msg(timeout=5)]
        assert got[0].data == b"now"
        assert time.monotonic() - began_s < 0.3
        got += [await inbox.next_msg(timeout=5) for _ in range(5)]
        assert {each.data for each in got[1:]} == {b'{"data":"words"}'}


def never(_: Callable[..., Any]) -> None:
    raise AssertionError("nobody joins late here")


def topic_of(route: Any, name: str = "/counter") -> Topic:
    return Topic(name, name.strip("/"), STRING, "string data\n", route, lambda body: body, never)


async def test_a_durable_topic_that_goes_during_an_outage_is_stored_in_order_all_the_same(
    rig: Rig,
) -> None:
    async with line(rig) as each:
        table = RouteTable({"c": RouteParams(topic="counter", durable=True)})
        topic = topic_of(table.route("/counter", STRING))
        durable = each.transport._durable

        def samples(*numbers: int) -> list[Sample]:
            return [Sample("/counter", STRING, "cdr", b"%d" % n, n, n, n) for n in numbers]

        sink = each.transport.attach(topic, lambda _: None)
        sink.put(samples(1))
        await until(lambda: durable.stored == 1)
        rig.children[0].stop()
        await until(lambda: not each.transport.health().ok)
        sink.put(samples(2, 3))
        sink.close()
        again = each.transport.attach(topic, lambda _: None)
        again.put(samples(4))
        again.close()
        rig.start_server()
        await until(lambda: durable.stored == 4, 30)
        await until(lambda: not durable.sinks)
        held = await each.client.jetstream().subscribe(
            f"dt.{rig.robot}.tlm.counter", ordered_consumer=True
        )
        found = []
        while len(found) < 4:
            found.append((await held.next_msg(timeout=10)).data)
        assert found == [b"1", b"2", b"3", b"4"]


async def test_what_a_durable_route_loses_is_said_and_counted(rig: Rig) -> None:
    async with line(rig) as each:
        table = RouteTable({"c": RouteParams(topic="counter", durable=True, max_messages=5)})
        rig.children[0].stop()
        await until(lambda: not each.transport.health().ok)
        sink = each.transport.attach(topic_of(table.route("/counter", STRING)), lambda _: None)
        sink.put([Sample("/counter", STRING, "cdr", b"x", n, n, n) for n in range(8)])
        await until(lambda: any("durable routes lost 3" in text for text in each.log.lines))
        assert each.transport.health().values["durable_dropped"] == 3
