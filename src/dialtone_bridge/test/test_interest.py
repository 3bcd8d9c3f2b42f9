"""Subject matching, and the server's word on who wants what."""

from __future__ import annotations

import nats
import pytest
from bridge_rig import Peer, Rig, until
from std_msgs.msg import String

from dialtone_bridge.transports.interest import Interest, matches, wants


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        (">", "dt.rover.tlm.odom", True),
        ("dt.*.tlm.>", "dt.rover.tlm.odom", True),
        ("dt.rover.tlm.*", "dt.rover.tlm.odom", True),
        ("dt.rover.tlm.*", "dt.rover.tlm.camera.front", False),
        ("dt.rover.tlm.>", "dt.rover.tlm", False),
        ("dt.rover.tlm.odom.x", "dt.rover.tlm.odom", False),
        ("dt.other.tlm.>", "dt.rover.tlm.odom", False),
    ],
)
def test_a_pattern_matches_as_the_server_matches(
    pattern: str, subject: str, expected: bool
) -> None:
    assert matches(pattern, subject) is expected
    assert wants([pattern], subject) is expected
    assert wants(None, subject)


def test_interest_lasts_until_the_last_of_plain_and_queue_subscribers() -> None:
    interest = Interest("dt.rover.tlm")
    assert interest.take(b"LS+ dt.rover.tlm.odom\r\n")
    assert interest.take(b"LS+ dt.rover.tlm.odom workers 1\r\n")
    assert not interest.take(b"LS+ dt.rover.tlm.odom workers 2\r\n")
    assert interest.take(b"LS- dt.rover.tlm.odom\r\n")
    assert interest.patterns() == {"dt.rover.tlm.odom"}
    assert interest.take(b"LS- dt.rover.tlm.odom workers\r\n")
    assert interest.patterns() == frozenset()


@pytest.mark.parametrize(
    "line", [b"LS+ $JS.API.>\r\n", b"LS+\r\n", b"\xff\xff\r\n", b"INFO {}\r\n"]
)
def test_what_is_not_ours_changes_nothing(line: bytes) -> None:
    assert not Interest("dt.rover.tlm").take(line)


def test_wildcards_that_reach_us_count() -> None:
    interest = Interest("dt.rover.tlm")
    assert interest.take(b"LS+ >\r\n")
    assert interest.take(b"LS+ dt.*.tlm.imu.>\r\n")
    assert not interest.take(b"LS+ dt.*.cmd.>\r\n")


async def test_ros_is_subscribed_only_while_a_nats_client_is(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 10)
    other = peer.node.create_publisher(String, "gossip", 10)
    await rig.file()
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="hello"))
    assert b"hello" in (await inbox.next_msg(timeout=5)).data
    await inbox.unsubscribe()
    await until(lambda: publisher.get_subscription_count() == 0)
    assert other.get_subscription_count() == 0
    await client.subscribe(f"dt.{rig.robot}.tlm.>")
    await until(lambda: other.get_subscription_count() == publisher.get_subscription_count() == 1)
