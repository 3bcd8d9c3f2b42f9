"""Topics whose types, QoS and publishers change while somebody looks: a real graph, real DDS."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import nats
import pytest
from bridge_rig import Peer, Rig, until
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32, String

from dialtone_bridge.clients.foxglove_client import FoxgloveClient, open_client
from dialtone_bridge.ros_source import RosSource
from dialtone_core.errors import WireError

ONLY_FOXGLOVE = {"nats_url": "''", "discovery_period_s": 0.2}


def keeping(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


async def received(viewer: FoxgloveClient, count: int) -> list[bytes]:
    """The texts of ``count`` String messages."""
    return [(await viewer.receive()).payload[8:].rstrip(b"\0") for _ in range(count)]


async def test_a_node_that_comes_back_with_another_type_is_followed(
    rig: Rig, client: nats.NATS
) -> None:
    before = Peer()
    first = before.node.create_publisher(Int32, "speed", 10)
    rig.start_bridge(discovery_period_s=0.2)
    await rig.file()
    types: list[str] = []

    async def note(message: Any) -> None:
        types.append(message.headers["Dt-Type"])

    await client.subscribe(f"dt.{rig.robot}.tlm.speed", cb=note)
    await until(lambda: first.get_subscription_count() > 0)
    first.publish(Int32(data=1))
    await until(lambda: types == ["std_msgs/msg/Int32"])
    before.close()
    after = Peer()
    second = after.node.create_publisher(String, "speed", 10)
    await until(lambda: second.get_subscription_count() > 0)
    second.publish(String(data="fast"))
    await until(lambda: types[-1] == "std_msgs/msg/String")
    after.close()


async def test_who_merely_listens_for_another_type_changes_nothing(rig: Rig, peer: Peer) -> None:
    publisher = peer.node.create_publisher(String, "status", 10)
    bridge = rig.start_bridge(**ONLY_FOXGLOVE)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/status")
        await until(lambda: publisher.get_subscription_count() > 0)
        other = Peer()
        other.listen(Int32, "status")
        await until(lambda: other.node.count_publishers("status") > 0)
        for number in range(10):
            publisher.publish(String(data=str(number)))
            await asyncio.sleep(0.1)
        assert await received(viewer, 10) == [b"%d" % number for number in range(10)]
        other.close()
    assert bridge.process.poll() is None


async def test_a_publisher_that_comes_back_with_other_qos_is_heard_at_the_next_look(
    rig: Rig, peer: Peer
) -> None:
    reliable = peer.node.create_publisher(String, "chatter", 10)
    rig.start_bridge(**ONLY_FOXGLOVE)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/chatter")
        await until(lambda: reliable.get_subscription_count() > 0)
        peer.node.destroy_publisher(reliable)
        weak = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        other = peer.node.create_publisher(String, "chatter", weak)
        began_s = time.monotonic()
        await until(lambda: other.get_subscription_count() > 0)
        assert time.monotonic() - began_s < 1.5  # a look is every 0.2 s
        other.publish(String(data="here"))
        assert await received(viewer, 1) == [b"here"]


async def test_a_stream_goes_on_whole_while_the_qos_of_its_topic_changes(
    rig: Rig, peer: Peer
) -> None:
    strong = peer.node.create_publisher(String, "chatter", 1000)
    bridge = rig.start_bridge(**ONLY_FOXGLOVE)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/chatter")
        await until(lambda: strong.get_subscription_count() > 0)
        for number in range(1500):
            strong.publish(String(data=str(number)))
            if number == 300:
                weak = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
                peer.node.create_publisher(String, "chatter", weak)
            await asyncio.sleep(0.001)
        got = await received(viewer, 1500)
        assert got == [b"%d" % number for number in range(1500)]
    assert "differ in reliability" in bridge.text()


async def test_a_mix_that_is_there_from_the_beginning_is_said(rig: Rig, peer: Peer) -> None:
    weak = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publishers = [peer.node.create_publisher(String, "chatter", qos) for qos in (10, weak)]
    bridge = rig.start_bridge(**ONLY_FOXGLOVE)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/chatter")
        await until(lambda: all(each.get_subscription_count() for each in publishers))
    await until(lambda: "publishers of /chatter differ in reliability" in bridge.text())


async def test_a_late_viewer_gets_all_that_one_publisher_holds(rig: Rig, peer: Peer) -> None:
    publisher = peer.node.create_publisher(String, "log", keeping(5))
    for number in range(5):
        publisher.publish(String(data=str(number)))
    rig.start_bridge(**ONLY_FOXGLOVE)
    url = (await rig.file()).foxglove_url
    expected = [b"%d" % number for number in range(5)]
    async with open_client(url) as first, open_client(url) as late:
        await first.subscribe("/log")
        assert await received(first, 5) == expected
        await late.subscribe("/log")
        assert await received(late, 5) == expected


async def test_hundreds_of_late_subscriptions_cost_one_more_reader(rig: Rig, peer: Peer) -> None:
    publishers = [peer.node.create_publisher(String, "log", keeping(1)) for _ in range(2)]
    for each in publishers:
        each.publish(String(data="held"))
    rig.start_bridge(**ONLY_FOXGLOVE)
    url = (await rig.file()).foxglove_url
    async with open_client(url) as first, open_client(url) as late:
        await first.subscribe("/log")
        await received(first, 2)
        for _ in range(300):
            await late.subscribe("/log")
        most = 0
        for _ in range(600):
            most = max(most, publishers[0].get_subscription_count())
            assert await received(late, 1) == [b"held"]
        assert most <= 2


async def test_a_volatile_publisher_that_comes_and_goes_repeats_nothing(
    rig: Rig, peer: Peer
) -> None:
    holder = peer.node.create_publisher(String, "log", keeping(3))
    for number in range(3):
        holder.publish(String(data=str(number)))
    rig.start_bridge(**ONLY_FOXGLOVE)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/log")
        seen = Counter(await received(viewer, 3))
        passing = peer.node.create_publisher(String, "log", 10)
        await until(lambda: passing.get_subscription_count() > 0)
        passing.publish(String(data="passing"))
        seen.update(await received(viewer, 1))
        peer.node.destroy_publisher(passing)
        await asyncio.sleep(2.0)  # looks, a reader that latches again, and its history
        holder.publish(String(data="last"))
        seen.update(await received(viewer, 1))
        assert seen == Counter([b"0", b"1", b"2", b"passing", b"last"])


async def test_a_topic_that_is_latched_after_all_is_there_for_who_comes_late(
    rig: Rig, peer: Peer
) -> None:
    volatile = peer.node.create_publisher(String, "map", 10)
    rig.start_bridge(**ONLY_FOXGLOVE)
    url = (await rig.file()).foxglove_url
    async with open_client(url) as first:
        await first.subscribe("/map")
        await until(lambda: volatile.get_subscription_count() > 0)
        before = (await first.wait_channel("/map")).id
        peer.node.destroy_publisher(volatile)
        holder = peer.node.create_publisher(String, "map", keeping(1))
        holder.publish(String(data="walls"))

        async def late() -> bytes:
            async with open_client(url) as viewer:
                await viewer.subscribe("/map")
                return (await received(viewer, 1))[0]

        await until(lambda: "/map" in first.channels and first.channels["/map"].id != before)
        assert await late() == b"walls"


@pytest.mark.parametrize("how", ["nats", "foxglove"])
async def test_a_command_of_another_type_than_the_graphs_is_refused_and_spoils_nothing(
    rig: Rig, peer: Peer, client: nats.NATS, how: str
) -> None:
    heard = peer.listen(PoseStamped, "goal_pose")
    publisher = peer.node.create_publisher(PoseStamped, "goal_pose", 10)
    bridge = rig.start_bridge()
    file = await rig.file()
    subject = f"dt.{rig.robot}.cmd.goal_pose"
    async with open_client(file.foxglove_url) as viewer:
        await viewer.wait_channel("/goal_pose")  # before that, nobody knows its type
    if how == "nats":
        await client.publish(subject, b'{"data":"hi"}', headers={"Dt-Type": "std_msgs/msg/String"})
        await until(lambda: "type_mismatch" in bridge.text())
    else:
        async with open_client(file.foxglove_url) as panel:
            wrong = await panel.advertise("/goal_pose", "std_msgs/String", "json")
            await panel.publish(wrong, {"data": "hi"})
            await panel.wait_status("type_mismatch")
    while not heard:
        await client.publish(subject, b'{"pose":{"position":{"x":1.0}}}')
        await asyncio.sleep(0.05)
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.goal_pose")
    await until(lambda: publisher.get_subscription_count() > 1)
    publisher.publish(PoseStamped())
    assert (await inbox.next_msg(timeout=5)).headers["Dt-Type"] == "geometry_msgs/msg/PoseStamped"
    assert bridge.process.poll() is None


class OddNode:
    """A graph with topics that ROS would not make, as native DDS programs do."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def get_logger(self) -> OddNode:
        return self

    warning = error = lambda self, line: self.lines.append(line)

    def create_guard_condition(self, callback: Any) -> OddNode:
        return self

    def trigger(self) -> None:
        return

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [("/a", ["HelloWorld"]), ("/b.c", ["x"]), ("/d", ["std_msgs/msg/String"])]

    def count_publishers(self, name: str) -> int:
        if "." in name:
            raise ValueError(f"topic name {name!r} is invalid")
        return 1

    def get_publishers_info_by_topic(self, name: str) -> list[Any]:
        return []


class Found:
    """An exchange that notes what it is told."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def admits(self, name: str, type_name: str) -> bool:
        return True

    def found(self, name: str, type_name: str, definition: str, latched: bool) -> None:
        self.names.append(name)


def test_odd_topics_and_requests_that_fail_are_named_and_end_nothing() -> None:
    node, exchange = OddNode(), Found()
    source = RosSource(node, 1.0)  # type: ignore[arg-type]
    source._exchange = exchange  # type: ignore[assignment]
    for _ in range(3):
        source._look()
    assert exchange.names == ["/d"] * 3
    assert len(node.lines) == 2
    assert "/a is not bridged: 'HelloWorld' is not a ROS type name" in node.lines

    def fail() -> None:
        raise WireError("odd")

    done: list[bool] = []
    source.post(fail)
    source.post(lambda: done.append(True))
    source._do_work()
    assert done
    assert "a request to ROS failed" in node.lines[-1]


async def test_a_node_of_that_name_may_come_and_go(rig: Rig, peer: Peer) -> None:
    """A restart of the same node, 20 times: its viewers need not notice."""
    rig.start_bridge(**ONLY_FOXGLOVE)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        told = False
        for number in range(20):
            node = Node("restless", context=peer.context)
            publisher = node.create_publisher(String, "beat", 10)
            if not told:
                await viewer.subscribe("/beat")
                told = True
            await until(lambda each=publisher: each.get_subscription_count() > 0)  # type: ignore[misc]
            publisher.publish(String(data=str(number)))
            assert await received(viewer, 1) == [b"%d" % number]
            node.destroy_node()
