"""What every transport keeps to, seen through a client of each kind. No ROS in it.

The kinds are found (``contract_rig.py``); a new one changes nothing here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bridge_rig import Rig, until
from contract_rig import (
    DEFINITION,
    FAR_ENDS,
    KINDS,
    REACHING_EACH,
    line,
    receive_until,
    topic_of,
)
from feed_rig import STRING, Inbox, Said

from dialtone_bridge.params import RouteParams

IMAGE = "sensor_msgs/msg/Image"
each_kind = pytest.mark.parametrize("kind", KINDS)
BLOCK = bytes(64 * 1024)
#: Blocks of a flood: more than sockets and servers take on the way.
FLOOD = 200
#: A slow machine may need seconds, and then it is the bounds that count and not the age.
PATIENT = {"max_age_s": 60.0}


@each_kind
async def test_bytes_arrive_as_they_left_and_in_order(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        await each.offer("/chatter")
        sent = [bytes([0, 1, 0, 0, index]) * 50 for index in range(100)]
        for payload in sent:
            each.feed.emit("/chatter", payload)
        assert [await each.client.receive() for _ in sent] == sent
        row = each.exchange.reports()[0]
        assert row.stats.messages == 100
        assert row.sinks[kind].sent == 100
        assert row.sinks[kind].dropped == 0


@each_kind
async def test_nothing_is_subscribed_that_nobody_wants(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        each.exchange.found("/gossip", STRING, DEFINITION)
        await each.offer("/chatter")
        assert "/gossip" not in each.feed.open
        await each.client.unsubscribe("chatter")
        await until(lambda: not each.feed.open)


@each_kind
async def test_a_route_that_is_always_wanted_is_subscribed_at_once(kind: str, rig: Rig) -> None:
    async with line(kind, rig, a=RouteParams(topic="chatter", always=True)) as each:
        each.exchange.found("/chatter", STRING, DEFINITION)
        assert "/chatter" in each.feed.open
        each.exchange.gone("/chatter")
        assert each.feed.open == {}


@each_kind
async def test_a_late_client_gets_what_is_latched(kind: str, rig: Rig) -> None:
    routes = {"a": RouteParams(topic="map", always=True, latched=True)}
    async with line(kind, rig, **routes) as each:
        await each.offer("/map")
        each.feed.emit("/map", b"\0\1\0\0first")
        each.feed.emit("/map", b"\0\1\0\0last")
        await receive_until(each.client, b"\0\1\0\0last")
        async with each.far.client(each.transport) as late:
            await late.subscribe("map")
            assert await late.receive() == b"\0\1\0\0last"
            each.feed.emit("/map", b"\0\1\0\0next")
            assert await late.receive() == b"\0\1\0\0next"


@each_kind
async def test_what_is_latched_waits_for_the_first_client_too(kind: str, rig: Rig) -> None:
    routes = {"a": RouteParams(topic="map", always=True, latched=True)}
    async with line(kind, rig, **routes) as each:
        each.exchange.found("/map", STRING, DEFINITION)
        each.feed.emit("/map", b"\0\1\0\0first")
        each.feed.emit("/map", b"\0\1\0\0last")
        await each.client.subscribe("map")
        assert (await receive_until(each.client, b"\0\1\0\0last"))[0] == b"\0\1\0\0last"


@pytest.mark.parametrize("kind", REACHING_EACH)
async def test_a_late_client_gets_what_each_publisher_holds(kind: str, rig: Rig) -> None:
    """A promise of transports that can tell one client what the others have heard already. Where
    a broker stands between, a late client gets the newest message of the topic."""
    routes = {"a": RouteParams(topic="map", always=True, latched=True)}
    async with line(kind, rig, **routes) as each:
        await each.offer("/map")
        each.feed.emit("/map", b"\0\1\0\0last")
        await receive_until(each.client, b"\0\1\0\0last")
        bodies = [b"\0\1\0\0one", b"\0\1\0\0two"]
        each.feed.held = [each.feed.sample("/map", body) for body in bodies]
        async with each.far.client(each.transport) as late:
            await late.subscribe("map")
            assert [await late.receive() for _ in bodies] == bodies
        each.feed.emit("/map", b"\0\1\0\0next")
        assert await each.client.receive() == b"\0\1\0\0next"


@each_kind
async def test_a_topic_that_changes_its_type_starts_anew(kind: str, rig: Rig) -> None:
    async with line(kind, rig, a=RouteParams(topic="chatter", always=True)) as each:
        each.exchange.found("/chatter", STRING, DEFINITION)
        each.exchange.found("/chatter", STRING, DEFINITION)
        assert each.feed.opened == 1
        each.exchange.found("/chatter", "std_msgs/msg/Int8", "int8 data\n")
        assert each.feed.opened == 2
        assert [row.type for row in each.exchange.reports()] == ["std_msgs/msg/Int8"]


@each_kind
async def test_a_route_for_other_transports_is_not_carried(kind: str, rig: Rig) -> None:
    elsewhere = RouteParams(topic="private", always=True, transports=["elsewhere"])
    here = RouteParams(topic="public", transports=[kind, "elsewhere"])
    async with line(kind, rig, a=elsewhere, b=here) as each:
        each.exchange.found("/private", STRING, DEFINITION)
        await each.offer("/public")
        each.feed.emit("/private", b"secret")
        each.feed.emit("/public", b"news")
        assert await each.client.receive() == b"news"
        assert [list(row.sinks) for row in each.exchange.reports()] == [[], [kind]]


@each_kind
async def test_a_capped_route_skips_and_counts_and_ends_with_the_newest(
    kind: str, rig: Rig
) -> None:
    async with line(kind, rig, a=RouteParams(topic="chatter", max_rate_hz=1.0)) as each:
        await each.offer("/chatter")
        for index in range(10):
            each.feed.emit("/chatter", b"\0\1\0\0" + bytes([index]))
        each.feed.alarms[0].ring()
        assert [(await each.client.receive())[-1] for _ in range(2)] == [0, 9]
        row = each.row("/chatter")
        assert (row.stats.messages, row.stats.skipped) == (10, 8)
        assert row.sinks[kind].sent == 2


@each_kind
async def test_what_publishers_latch_is_thinned_by_name_only(kind: str, rig: Rig) -> None:
    routes = {
        "some": RouteParams(topic="tf_.*", always=True, max_rate_hz=1.0),
        "map": RouteParams(topic="map", always=True, max_rate_hz=1.0),
    }
    async with line(kind, rig, **routes) as each:
        for topic in ("/tf_static", "/map"):
            each.exchange.found(topic, STRING, DEFINITION, latched=True)
        for _ in range(3):
            each.feed.emit("/tf_static", b"\0\1\0\0")
            each.feed.emit("/map", b"\0\1\0\0")
        thinned = each.row("/map")
        assert each.row("/tf_static").stats.skipped == 0
        assert each.row("/tf_static").route.max_rate_hz == 0
        assert thinned.stats.skipped == 1  # one went, one waits
        each.exchange.gone("/map")
        assert each.feed.alarms[0].delay_ns is None
        assert thinned.stats.skipped == 2


# -- commands -------------------------------------------------------------------------------------


@each_kind
async def test_what_clients_send_is_taken_or_refused_by_name(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        await each.client.send("forbidden", b"\0\1\0\0x")
        await each.client.send("allowed", b"\0\1\0\0y")
        await until(lambda: each.inbox.taken)
        assert each.inbox.taken == [("allowed", b"\0\1\0\0y")]
        await until(lambda: each.health("refused.topic_not_allowed") == 1)
        assert each.health("commands_refused") == 1
        assert each.transport.health().ok


@each_kind
async def test_garbage_is_refused_by_name_and_ends_nothing(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        refused = await each.client.send_garbage()
        await until(lambda: each.health("commands_refused") == refused)
        values = each.transport.health().values
        named = [values[key] for key in values if key.startswith("refused.")]
        assert sum(named) == refused
        assert each.inbox.taken == []
        assert each.health("commands_refused") == refused
        async with each.far.client(each.transport) as other:
            await other.send("allowed", b"\0\1\0\0y")
            await until(lambda: each.inbox.taken == [("allowed", b"\0\1\0\0y")])
        assert not each.running.done()


# -- slow readers ---------------------------------------------------------------------------------


@each_kind
async def test_a_client_that_does_not_read_costs_the_others_nothing(kind: str, rig: Rig) -> None:
    """Where the transport reaches each client, it counts what the slow one loses, by topic; a
    broker holds that for its clients itself, as far as it likes."""
    routes = {"a": RouteParams(topic="pictures", max_messages=32, **PATIENT)}
    async with line(kind, rig, **routes) as each, each.far.client(each.transport) as slow:
        await each.offer("/pictures", "/words")
        for path in ("pictures", "words"):
            await slow.subscribe(path)
        await until(lambda: each.stats("/pictures").clients in (0, 2))
        with slow.stall():
            for index in range(FLOOD):
                body = b"%06d" % index + BLOCK
                each.feed.emit("/pictures", body)
                assert await each.client.receive() == body
            each.feed.emit("/words", b"still here")
            assert await each.client.receive() == b"still here"
            assert each.stats("/words").dropped == 0
            assert bool(each.stats("/pictures").dropped) is each.far.reaches_each
        if each.far.reaches_each:
            came = await receive_until(slow, body, b"still here")
            assert len(came) - 1 + each.stats("/pictures").dropped == FLOOD


@each_kind
async def test_what_waits_stays_within_the_bounds_of_its_route(kind: str, rig: Rig) -> None:
    routes = {
        "a": RouteParams(topic="counted", max_messages=8, **PATIENT),
        "b": RouteParams(topic="weighed", max_bytes=8 * len(BLOCK), **PATIENT),
        "c": RouteParams(topic="newest", delivery="latest", **PATIENT),
    }
    bounds = {"/counted": 8, "/weighed": 8, "/newest": 1}
    async with line(kind, rig, **routes) as each:
        await each.offer(*bounds)
        last = [b"last of %b" % topic.encode() for topic in bounds]
        with each.far.freeze(each.client):
            for _ in range(FLOOD - 1):
                for topic in bounds:
                    each.feed.emit(topic, topic.encode() + BLOCK)
                await asyncio.sleep(0)
                assert all(each.stats(topic).waiting <= bounds[topic] for topic in bounds)
            for topic, body in zip(bounds, last, strict=True):
                each.feed.emit(topic, body)
            assert all(each.stats(topic).dropped > 0 for topic in bounds)
        came = await receive_until(each.client, *last)
        for topic, body in zip(bounds, last, strict=True):
            mine = [one for one in came if one == body or one.startswith(topic.encode())]
            assert mine[-1] == body
            assert len(mine) + each.stats(topic).dropped == FLOOD
            assert each.stats(topic).sent == len(mine)


@each_kind
async def test_a_big_topic_starves_no_small_one(kind: str, rig: Rig) -> None:
    routes = {
        "a": RouteParams(topic="pictures", max_messages=64, max_bytes=1 << 24, **PATIENT),
        "b": RouteParams(topic="thumbs", priority="bulk", **PATIENT),
    }
    async with line(kind, rig, **routes) as each:
        await each.offer("/pictures", type_name=IMAGE)
        await each.offer("/thumbs", "/words")
        with each.far.freeze(each.client):
            for _ in range(FLOOD):
                each.feed.emit("/pictures", BLOCK)
                await asyncio.sleep(0)
            each.feed.emit("/thumbs", b"a peer")
            each.feed.emit("/words", b"more urgent")
            each.feed.emit("/pictures", b"the end")
            waiting = each.stats("/pictures").waiting
            assert waiting > 32
        came = await receive_until(each.client, b"the end")
        urgent, peer = came.index(b"more urgent"), came.index(b"a peer")
        assert urgent < peer < len(came) - waiting // 2


# -- the end --------------------------------------------------------------------------------------


@contextmanager
def bursts(put: Callable[[list[Any]], None], burst: list[Any]) -> Iterator[None]:
    """A source's thread that puts ``burst`` again and again; what it raised is raised here."""
    stop, failed = threading.Event(), []

    def flood() -> None:
        while not stop.wait(0.0005):
            try:
                put(burst)
            except Exception as error:  # a source's thread would die of it
                failed.append(error)
                return

    thread = threading.Thread(target=flood)
    thread.start()
    yield
    stop.set()
    thread.join(5)
    assert failed == []


@each_kind
async def test_a_sink_closes_while_bursts_arrive_and_may_close_twice(kind: str, rig: Rig) -> None:
    async with line(kind, rig) as each:
        topic = topic_of("/chatter", max_messages=4)
        sink = each.transport.attach(topic, lambda _: None)
        await each.client.subscribe("chatter")
        burst = [each.feed.sample("/chatter", b"x%d" % index) for index in range(20)]
        with bursts(sink.put, burst):
            assert await each.client.receive() == b"x16"
            await asyncio.to_thread(sink.close)
            before = each.losses()
            await asyncio.to_thread(sink.close)
        sink.put(burst)
        assert each.losses() == before
        assert sink.stats().waiting == 0
        await each.offer("/other")
        each.feed.emit("/other", b"alive")
        await receive_until(each.client, b"alive")


@each_kind
async def test_a_transport_closes_while_bursts_arrive_and_may_close_twice(
    kind: str, rig: Rig
) -> None:
    async with line(kind, rig) as each:
        sink = each.transport.attach(topic_of("/chatter"), lambda _: None)
        await each.client.subscribe("chatter")
        burst = [each.feed.sample("/chatter", b"x%d" % index) for index in range(20)]
        with bursts(sink.put, burst):
            assert await each.client.receive() == b"x0"
            for _ in range(2):
                await each.transport.aclose()
        sink.close()
        assert not each.transport.health().ok


@each_kind
async def test_health_tells_before_it_opens_and_after_it_closed(kind: str, rig: Rig) -> None:
    transport = await FAR_ENDS[kind](rig).make(Inbox(), Said())
    for _ in range(2):
        health = transport.health()
        assert not health.ok
        assert health.message
        assert health.values["commands_refused"] == 0
        await transport.aclose()
    assert transport.name == kind


def test_every_transport_of_the_package_is_judged_here() -> None:
    assert {"foxglove", "memory", "nats"} <= set(KINDS)
