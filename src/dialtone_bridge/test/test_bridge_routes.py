"""The route table in a real bridge, seen from ROS on one side and from clients on the other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats
from bridge_rig import Child, Peer, Rig, until
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import Int32, String

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_core.aio import timeout


async def table(rig: Rig, client: nats.NATS) -> dict[str, Any]:
    """What the bridge says of its routes."""
    reply = await client.request(f"dt.{rig.robot}.srv.bridge.routes", b"{}", timeout=5)
    answer: dict[str, Any] = json.loads(reply.data)
    assert answer["ok"]
    return answer


def start_in(rig: Rig, namespace: str, **params: Any) -> Child:
    """A bridge in a ROS namespace."""
    params = {"robot": rig.robot, "nats_url": rig.nats_url, "foxglove_port": 0, **params}
    options = [word for key, value in params.items() for word in ("-p", f"{key}:={value}")]
    return rig.module("node", "--ros-args", "-r", f"__ns:={namespace}", *options)


async def test_topics_in_and_outside_of_the_namespace_share_no_subject_either_way(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    foreign = peer.node.create_publisher(String, "/speed", 10)
    own = peer.node.create_publisher(Int32, "/robot2/speed", 10)
    heard = {name: peer.listen(String, name) for name in ("/goal", "/robot2/goal")}
    start_in(rig, "/robot2", command_topics="['/goal', '/robot2/goal']")
    found: dict[str, str] = {}

    async def note(message: Any) -> None:
        found[message.subject.removeprefix(f"dt.{rig.robot}.tlm.")] = message.headers["Dt-Type"]

    for tail in ("speed", "_root.speed"):
        await client.subscribe(f"dt.{rig.robot}.tlm.{tail}", cb=note)
    await rig.file()
    await until(lambda: foreign.get_subscription_count() and own.get_subscription_count())
    async with timeout(15):
        while len(found) < 2:
            foreign.publish(String(data="foreign"))
            own.publish(Int32(data=1))
            await asyncio.sleep(0.05)
        while not all(heard.values()):
            for tail, name in (("goal", "own"), ("_root.goal", "foreign")):
                body = json.dumps({"data": name}).encode()
                await client.publish(f"dt.{rig.robot}.cmd.{tail}", body)
            await asyncio.sleep(0.05)
    assert found == {"speed": "std_msgs/msg/Int32", "_root.speed": "std_msgs/msg/String"}
    assert {name: {each.data for each in said} for name, said in heard.items()} == {
        "/goal": {"foreign"},
        "/robot2/goal": {"own"},
    }


async def test_the_last_state_of_a_capped_topic_arrives_without_a_next_one(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge(**{"routes.s.topic": "state", "routes.s.max_rate_hz": 4.0})
    publisher = peer.node.create_publisher(Int32, "state", 10)
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.state")
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    came: list[int] = []
    for last in (2, 5, 8):
        for number in range(last - 2, last + 1):
            publisher.publish(Int32(data=number))
        while last not in came:
            message = await inbox.next_msg(timeout=5)
            came.append(deserialize_message(message.data, Int32).data)
    assert came[:2] == [0, 2]
    (row,) = [each for each in (await table(rig, client))["routes"] if each["topic"] == "/state"]
    assert row["messages"] == 9 == len(came) + row["skipped"]


async def test_a_cap_for_all_streams_lets_every_fixed_transform_through(
    rig: Rig, peer: Peer
) -> None:
    rig.start_bridge(nats_url="''", **{"routes.all.topic": "'.*'", "routes.all.max_rate_hz": 1.0})
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for number in range(3):
        made = peer.node.create_publisher(Int32, "tf_static", latched)
        made.publish(Int32(data=number))
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.wait_channel("/tf_static")
        await viewer.subscribe("/tf_static")
        came = [deserialize_message((await viewer.receive()).payload, Int32) for _ in range(3)]
    assert {each.data for each in came} == {0, 1, 2}


async def test_what_stays_inside_has_its_reason_and_goes_with_its_topic(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge(
        deny_topics="['secret']",
        allow_topics="['[a-z_/]+']",
        **{"routes.shut.topic": "closed", "routes.shut.direction": "none"},
    )
    names = ("secret", "closed", "number9", "_debug", "odd")
    publishers = {name: peer.node.create_publisher(Int32, name, 10) for name in names}
    await rig.file()

    async def until_denied(expected: dict[str, str]) -> None:
        found: dict[str, str] = {}
        async with timeout(15):
            while found != expected:
                await asyncio.sleep(0.1)
                answer = await table(rig, client)
                found = {row["topic"]: row["reason"] for row in answer["denied"]}
                assert not {row["topic"] for row in answer["routes"]} & {"/secret", "/_debug"}

    expected = {
        "/secret": "deny_topics",
        "/closed": "route shut",
        "/number9": "not in allow_topics",
        "/_debug": "hidden",
        "/parameter_events": "hidden",
    }
    await until_denied(expected)
    peer.node.destroy_publisher(publishers["secret"])
    del expected["/secret"]
    await until_denied(expected)


async def test_the_qos_in_force_and_the_direction_are_told(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge(**{"routes.c.topic": "chatter", "routes.c.always": True})
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.node.create_publisher(String, "chatter", latched)
    peer.node.create_publisher(String, "goal_pose", 10)
    await rig.file()
    rows: dict[str, Any] = {}
    async with timeout(15):
        while not {"/chatter", "/goal_pose"} <= set(rows):
            answer = await table(rig, client)
            rows = {row["topic"]: row for row in answer["routes"]}
            await asyncio.sleep(0.1)
    qos = {"reliability": "reliable", "durability": "transient_local", "depth": 5000}
    assert (rows["/chatter"]["qos"], rows["/chatter"]["direction"]) == (qos, "out")
    assert (rows["/goal_pose"]["qos"], rows["/goal_pose"]["direction"]) == (None, "both")
