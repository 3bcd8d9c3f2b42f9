"""What a Foxglove client that is slow, late, greedy or gone costs, and whom."""

from __future__ import annotations

import json
import struct
import time

import pytest
from bridge_rig import until
from foxglove_rig import MIB, PICTURE, STRING, raw, serving
from websockets.asyncio.client import connect

from dialtone_bridge.clients.foxglove_client import SUBPROTOCOL, open_client
from dialtone_bridge.params import RouteParams
from dialtone_core.clock import FakeClock
from dialtone_core.sample import Sample


async def test_a_viewer_that_never_reads_costs_the_others_nothing_and_memory_its_bound() -> None:
    routes = {"p": RouteParams(topic="camera", max_messages=10_000, max_bytes=1 << 30)}
    async with serving(client_bytes=4 * MIB, routes=routes) as line:
        line.exchange.found("/camera", PICTURE, "x")
        line.exchange.found("/small", STRING, "string data\n")
        async with raw(line.url, ["/camera", "/small"]), open_client(line.url) as viewer:
            await viewer.subscribe("/camera")
            await viewer.subscribe("/small")
            await until(lambda: line.transport.health().values["clients"] == 2)
            await until(lambda: line.exchange.reports()[0].sinks["foxglove"].clients == 2)
            await until(lambda: line.exchange.reports()[1].sinks["foxglove"].clients == 2)
            for number in range(200):
                line.feed.emit("/camera", bytes([number]) * 200_000)
                line.feed.emit("/small", bytes([number]) * 100)
                got = [await viewer.receive(), await viewer.receive()]
                assert {each.payload[0] for each in got} == {number}
            camera, small = line.exchange.reports()
            assert camera.sinks["foxglove"].waiting * 200_000 <= 4 * MIB
            assert camera.sinks["foxglove"].dropped > 100
            assert small.sinks["foxglove"].dropped == 0


async def test_a_drop_is_told_to_its_client_by_topic_and_taken_back() -> None:
    routes = {"c": RouteParams(topic="chatter", max_messages=5)}
    async with serving(routes=routes) as line, open_client(line.url) as viewer:
        line.exchange.found("/chatter", STRING, "string data\n")
        await viewer.subscribe("/chatter")
        await until(lambda: "/chatter" in line.feed.open)
        for number in range(20):  # without giving the loop a turn
            line.feed.emit("/chatter", bytes([number]))
        status = await viewer.wait_status("messages dropped")
        assert status["message"].startswith("/chatter: messages dropped")
        assert status["level"] == 1
        assert status["id"] == "drop /chatter"
        assert [(await viewer.receive()).payload[0] for _ in range(5)] == [15, 16, 17, 18, 19]


@pytest.mark.parametrize(
    ("topic", "type_name", "limit_s"), [("/camera", PICTURE, 1.0), ("/chatter", STRING, 5.0)]
)
async def test_what_grew_old_in_a_stall_is_not_sent_any_more_and_counts_as_dropped(
    topic: str, type_name: str, limit_s: float
) -> None:
    async with serving() as line, open_client(line.url) as viewer:
        line.exchange.found(topic, type_name, "x")
        await viewer.subscribe(topic)
        channel = line.transport._sinks[topic].channel
        await until(lambda: channel.subscribers)
        clock = FakeClock(1)
        channel.subscribers[0].lane._outbox._now_ns = clock.monotonic_ns
        line.feed.emit(topic, b"old")  # the loop has no turn until the third is there
        clock.advance(0.6)
        line.feed.emit(topic, b"young")
        clock.advance(limit_s - 0.5)
        line.feed.emit(topic, b"new")
        assert [(await viewer.receive()).payload for _ in range(2)] == [b"young", b"new"]
        sink = line.exchange.reports()[0].sinks["foxglove"]
        assert (sink.sent, sink.dropped) == (2, 1)
        status = await viewer.wait_status("messages dropped")
        assert status["message"].startswith(f"{topic}: messages dropped")


async def test_events_never_grow_too_old() -> None:
    async with serving() as line, open_client(line.url) as viewer:
        line.exchange.found("/rosout", "rcl_interfaces/msg/Log", "x")
        await viewer.subscribe("/rosout")
        channel = line.transport._sinks["/rosout"].channel
        await until(lambda: channel.subscribers)
        clock = FakeClock(1)
        channel.subscribers[0].lane._outbox._now_ns = clock.monotonic_ns
        line.feed.emit("/rosout", b"it began")
        line.feed.emit("/rosout", b"it went on")
        clock.advance(1000)
        assert (await viewer.receive()).payload == b"it began"
        assert (await viewer.receive()).payload == b"it went on"


async def test_a_cap_thins_its_topic_by_when_each_message_came_and_no_other_topic() -> None:
    routes = {"c": RouteParams(topic="fast", max_rate_hz=50)}
    async with serving(routes=routes) as line, open_client(line.url) as viewer:
        for topic in ("/fast", "/other"):
            line.exchange.found(topic, STRING, "string data\n")
            await viewer.subscribe(topic)
        await until(lambda: len(line.feed.open) == 2)
        now_ns = time.time_ns()
        for topic in ("/fast", "/other"):  # 80 ms of 1 kHz, taken at once
            line.feed.open[topic](
                [
                    Sample(topic, STRING, "cdr", bytes([n]), 1, now_ns - (80 - n) * 1_000_000, n)
                    for n in range(80)
                ]
            )
        got = [await viewer.receive() for _ in range(85)]
        kept = [each.payload[0] for each in got if each.topic == "/fast"]
        assert kept == [0, 18, 38, 58, 78]  # a tenth of a turn early still counts as in time
        assert line.exchange.reports()[0].stats.skipped == 74  # the newest waits for its turn


@pytest.mark.parametrize("how", ["unadvertises", "closes", "is cut"])
async def test_a_client_that_drove_and_is_gone_is_followed_by_one_stop(how: str) -> None:
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        async with connect(line.url, subprotocols=[SUBPROTOCOL]) as socket:
            offer = {"id": 4, "topic": "/cmd_vel", "encoding": "json",
                     "schemaName": "geometry_msgs/Twist"}  # fmt: skip
            await socket.send(json.dumps({"op": "advertise", "channels": [offer]}))
            await socket.send(struct.pack("<BI", 1, 4) + b'{"linear":{"x":1}}')
            await until(lambda: line.inbox.taken)
            if how == "unadvertises":
                await socket.send(json.dumps({"op": "unadvertise", "channelIds": [4]}))
            elif how == "is cut":
                socket.transport.abort()
            else:
                await socket.close()
            await until(lambda: line.inbox.gone)
        assert [body for _, body in line.inbox.taken] == [
            b'{"linear":{"x":1}}',
            b'{"linear":{},"angular":{}}',
        ]
        await until(lambda: line.transport.clients == 0)
        assert len(line.inbox.taken) == 2
        assert len(line.inbox.gone) == 1


async def test_a_client_that_only_looked_moves_nothing_when_it_goes() -> None:
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        async with open_client(line.url) as panel:
            await panel.advertise("/cmd_vel")
        await until(lambda: line.inbox.gone)
        assert line.inbox.taken == []
