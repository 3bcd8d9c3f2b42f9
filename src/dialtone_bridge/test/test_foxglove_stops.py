"""A client that drove is gone: who is stopped, and who is not."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from bridge_rig import until
from foxglove_rig import raw, serving, speak
from websockets.asyncio.client import ClientConnection, connect

from dialtone_bridge.clients.foxglove_client import SUBPROTOCOL, open_client
from dialtone_bridge.foxglove import server
from dialtone_core.clock import FakeClock

GO = b'{"linear":{"x":1}}'
STAND = b'{"linear":{"x":0},"angular":{"z":0}}'
ZERO = b'{"linear":{},"angular":{}}'
OFFER = {"id": 4, "topic": "/cmd_vel", "encoding": "json", "schemaName": "geometry_msgs/Twist"}


def cdr(*axes: float) -> bytes:
    return struct.pack("<4B6d", 0, 1, 0, 0, *axes)


async def advertise(socket: ClientConnection, **changes: Any) -> None:
    await socket.send(json.dumps({"op": "advertise", "channels": [OFFER | changes]}))


async def publish(socket: ClientConnection, *bodies: bytes) -> None:
    for body in bodies:
        await socket.send(struct.pack("<BI", 1, 4) + body)


@pytest.mark.parametrize(
    ("encoding", "bodies", "stopped"),
    [
        ("json", [GO], True),
        ("json", [STAND, GO], True),
        ("json", [GO, STAND], False),
        ("cdr", [cdr(0, 0, 0, 0, 0, 0.1)], True),
        ("cdr", [cdr(1, 0, 0, 0, 0, 0), cdr(0, 0, 0, 0, 0, -0.0)], False),
    ],
)
async def test_only_a_client_whose_last_velocity_was_not_zero_is_followed_by_a_stop(
    encoding: str, bodies: list[bytes], stopped: bool
) -> None:
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        async with connect(line.url, subprotocols=[SUBPROTOCOL]) as socket:
            await advertise(socket, encoding=encoding)
            await publish(socket, *bodies)
            await until(lambda: len(line.inbox.taken) == len(bodies))
        await until(lambda: line.inbox.gone)
        assert [body for _, body in line.inbox.taken] == bodies + [ZERO] * stopped


async def test_a_client_that_goes_stops_nobody_who_has_driven_since() -> None:
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        async with open_client(line.url) as stays:
            mine = await stays.advertise("/cmd_vel")
            async with open_client(line.url) as goes:
                await goes.publish(await goes.advertise("/cmd_vel"), GO)
                await until(lambda: len(line.inbox.taken) == 1)
                await stays.publish(mine, b'{"linear":{"x":2}}')
                await until(lambda: len(line.inbox.taken) == 2)
            await until(lambda: line.inbox.gone)
            assert [body for _, body in line.inbox.taken] == [GO, b'{"linear":{"x":2}}']
        await until(lambda: len(line.inbox.gone) == 2)
        assert line.inbox.taken[-1] == ("cmd_vel", ZERO)


@pytest.mark.parametrize(("waited_s", "stopped"), [(4.0, True), (6.0, False)])
async def test_a_velocity_that_is_long_over_is_not_stopped_any_more(
    waited_s: float, stopped: bool
) -> None:
    clock = FakeClock(1)
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        line.transport._requests.commands._now_s = lambda: clock.monotonic_ns() / 1e9
        async with open_client(line.url) as panel:
            await panel.publish(await panel.advertise("/cmd_vel"), GO)
            await until(lambda: line.inbox.taken)
            clock.advance(waited_s)
        await until(lambda: line.inbox.gone)
        assert len(line.inbox.taken) == 1 + stopped


async def test_an_id_in_use_is_refused_and_its_channel_still_stopped() -> None:
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        async with open_client(line.url) as panel:
            await panel.send({"op": "advertise", "channels": [OFFER]})
            await panel.publish(4, GO)
            await panel.send({"op": "advertise", "channels": [OFFER | {"topic": "/other"}]})
            await panel.wait_status("channel_in_use")
        await until(lambda: line.inbox.gone)
        assert [body for _, body in line.inbox.taken] == [GO, ZERO]
        assert len(line.inbox.gone) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schemaName": ""}, "no_type"),
        ({"schemaName": "Twist"}, "no_type"),
        ({"encoding": "ros1"}, "unknown_encoding"),
        ({"topic": "/bad-name"}, "bad_topic"),
        ({"topic": "/cmd vel\n[FATAL] forged"}, "bad_topic"),
        ({"topic": "/" + "a" * 300}, "bad_topic"),
        ({"topic": "//a"}, "bad_topic"),
    ],
)
async def test_what_cannot_be_published_is_refused_when_it_is_advertised(
    change: dict[str, str], reason: str
) -> None:
    async with serving() as line, open_client(line.url) as panel:
        line.inbox.allowed = {"cmd_vel"}
        await panel.send({"op": "advertise", "channels": [OFFER | change]})
        await panel.wait_status(reason)
        await panel.publish(4, GO)
        await panel.wait_status("nothing was advertised as channel 4")
        assert line.inbox.taken == []
        assert not any("\n" in each for each in line.log.lines)


async def test_a_line_that_died_under_a_driver_is_noticed_in_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_SILENT_S", 0.5)
    async with serving() as line:
        line.inbox.allowed = {"cmd_vel"}
        async with open_client(line.url) as looks, raw(line.url, []) as dead:
            speak(dead, json.dumps({"op": "advertise", "channels": [OFFER]}).encode())
            speak(dead, struct.pack("<BI", 1, 4) + GO, binary=True)
            await until(lambda: len(line.inbox.taken) == 2, 10)  # it answers no ping
            assert line.inbox.taken[1] == ("cmd_vel", ZERO)
            assert "said nothing for 0.5 s" in line.log.lines[-1]
            assert line.inbox.gone == []
            speak(dead, struct.pack("<BI", 1, 4) + GO, binary=True)  # it was a long tunnel
            await until(lambda: len(line.inbox.taken) == 4, 10)
            assert looks.statuses == []


async def test_a_driver_that_answers_pings_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_SILENT_S", 1.5)
    async with serving() as line, open_client(line.url) as panel:
        line.inbox.allowed = {"cmd_vel"}
        await panel.publish(await panel.advertise("/cmd_vel"), GO)
        await until(lambda: line.inbox.taken)
        (session,) = line.transport._server.sessions
        said_s = session.link.heard_s
        await until(lambda: session.link.heard_s > said_s + 2.5)
        assert len(line.inbox.taken) == 1
