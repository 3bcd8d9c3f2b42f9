"""What a client gets wrong costs it that and no more, and fills neither its screen nor the log."""

from __future__ import annotations

from bridge_rig import until
from foxglove_rig import STRING, serving

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.foxglove.complaints import Complaints, Throttle, clean
from dialtone_bridge.foxglove.messages import Level
from dialtone_core.clock import NS_PER_S, FakeClock


async def test_one_bad_entry_of_a_list_costs_no_other() -> None:
    async with serving() as line, open_client(line.url) as client:
        line.inbox.allowed = {"cmd_vel"}
        for name in ("/a", "/b"):
            line.exchange.found(name, STRING, "string data\n")
        ids = [(await client.wait_channel(name)).id for name in ("/a", "/b")]
        bad = [{"id": 1, "channelId": 9999}, {}, None, {"id": -1, "channelId": ids[0]},
               {"id": 1.5, "channelId": 1}, {"id": True, "channelId": ids[0]}]  # fmt: skip
        good = [{"id": 10 + n, "channelId": each} for n, each in enumerate(ids)]
        await client.send({"op": "subscribe", "subscriptions": [*bad[:3], good[0], *bad, good[1]]})
        await until(lambda: line.feed.open.keys() == {"/a", "/b"})
        await client.send({"op": "unsubscribe", "subscriptionIds": [99, [], "x", 10]})
        await until(lambda: line.feed.open.keys() == {"/b"})
        offer = {"id": 4, "topic": "/cmd_vel", "encoding": "json", "schemaName": "a_msgs/B"}
        await client.send(
            {"op": "advertise", "channels": [{"id": 3}, offer | {"id": 5}, 7, offer]}
        )
        await client.publish(4, b"x")
        await until(lambda: line.inbox.taken)
        await client.send({"op": "unadvertise", "channelIds": [None, 88, 4]})
        await until(lambda: line.inbox.gone)
        assert line.transport.clients == 1


async def test_a_refusal_says_why_in_words_of_the_protocol() -> None:
    async with serving() as line, open_client(line.url) as client:
        await client.send({"op": "subscribe", "subscriptions": [{"id": 1, "channelId": 9999}]})
        status = await client.wait_status("no channel 9999")
        assert "Error" not in status["message"]
        assert status["message"].startswith("no_channel: ")


async def test_every_client_is_told_and_none_fills_its_screen() -> None:
    async with serving() as line:
        for _ in range(2):
            async with open_client(line.url) as client:
                channel = await client.advertise("/nope")
                told = await client.wait_status("/nope takes no messages")
                assert told["level"] == Level.INFO
                for _ in range(100):
                    await client.publish(channel, {"linear": {}})
                await client.wait_status("topic_not_allowed")
                await client.send({"op": "subscribeConnectionGraph"})
                line.exchange.found("/sync", STRING, "string data\n")
                await client.wait_channel("/sync")
                assert len(client.statuses) <= 25
            line.exchange.gone("/sync")
        values = line.transport.health().values
        assert values["refused.topic_not_allowed"] == 200
        assert values["refused.unknown_op"] == 2


async def test_a_flood_of_refusals_is_a_handful_of_lines_and_none_of_them_forged() -> None:
    async with serving() as line, open_client(line.url) as client:
        for number in range(3000):
            topic = "/x\n[FATAL] forged" if number % 2 else "/nope"
            offer = {"id": number, "topic": topic, "encoding": "json", "schemaName": "a/B"}
            await client.send({"op": "advertise", "channels": [offer]})
        await client.send({"op": "last\n"})
        line.exchange.found("/sync", STRING, "string data\n")
        await client.wait_channel("/sync")
        warnings = [each for each in line.log.lines if each.startswith("refused")]
        assert 1 <= len(warnings) <= 6
        assert all(each.isprintable() for each in line.log.lines)


def test_the_log_hears_again_of_what_goes_on_for_long_and_how_much_it_missed() -> None:
    clock = FakeClock()
    lines: list[str] = []
    throttle = Throttle(2, 10.0, lambda: clock.monotonic_ns() / NS_PER_S)
    complain = Complaints(lines.append, throttle)
    for _ in range(100):
        complain("no")
    assert lines == ["no", "no"]
    clock.advance(10)
    complain("no")
    assert lines[2:] == ["no (98 more like this were left out)"]
    clock.advance(1000)
    for _ in range(3):
        complain("no")
    assert len(lines) == 5


def test_what_a_client_says_is_one_line_of_bounded_length() -> None:
    assert clean("Grüße, /topic") == "Grüße, /topic"
    assert clean("a\nb\x1b[2J\x00\udce9\u2028") == r"a\nb\x1b[2J\x00\udce9\u2028"
    assert len(clean("x" * 1000)) == 301
