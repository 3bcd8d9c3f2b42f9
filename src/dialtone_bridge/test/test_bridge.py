"""Topics through a bridge process, between real DDS, a real NATS server and WebSocket clients."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import nats
import nats.errors
import pytest
from bridge_rig import Peer, Rig, refusals, until, values
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_core.chunks import Assembler

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20 + b"\xff\xd9"


def picture() -> CompressedImage:
    message = CompressedImage(format="jpeg", data=JPEG)
    message.header.stamp.sec = 12
    message.header.stamp.nanosec = 34
    message.header.frame_id = "camera_front"
    return message


async def test_a_topic_leaves_raw_with_its_headers(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    publisher = peer.node.create_publisher(String, "chatter", 10)
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    sent = String(data="hello")
    publisher.publish(sent)
    message = await inbox.next_msg(timeout=5)
    assert message.data.startswith(serialize_message(sent))  # DDS pads to 4 bytes
    assert message.headers is not None
    assert message.headers["Dt-Type"] == "std_msgs/msg/String"
    assert message.headers["Dt-Encoding"] == "cdr"
    assert int(message.headers["Dt-Stamp-Ns"]) > 1_600_000_000_000_000_000
    assert int(message.headers["Dt-Seq"]) >= 1


async def test_a_picture_leaves_as_jpeg_with_its_capture_stamp(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.camera.front.image_raw.compressed")
    publisher = peer.node.create_publisher(
        CompressedImage, "camera/front/image_raw/compressed", 10
    )
    await until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(picture())
    message = await inbox.next_msg(timeout=5)
    assert message.data == JPEG
    assert message.headers is not None
    assert message.headers["Dt-Encoding"] == "jpeg"
    assert message.headers["Dt-Stamp-Ns"] == "12000000034"


async def test_json_drives_with_its_envelope(rig: Rig, peer: Peer, client: nats.NATS) -> None:
    heard = peer.listen(TwistStamped, "cmd_vel/nats")
    rig.start_bridge()
    await rig.file()
    await until(lambda: peer.node.count_publishers("cmd_vel/nats") > 0)
    command = b'{"linear":{"x":0.4},"angular":{"z":0.1},"operator":"ada","seq":7,"ttl_ms":300}'
    while not heard:
        await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", command)
        await asyncio.sleep(0.05)
    assert heard[0].twist.linear.x == 0.4
    assert heard[0].twist.angular.z == 0.1
    assert heard[0].header.frame_id == "base_link?operator=ada&seq=7&ttl_ms=300"
    assert heard[0].header.stamp.sec > 1_600_000_000


async def test_bad_commands_are_named_and_move_nothing(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    heard = peer.listen(TwistStamped, "cmd_vel/nats")
    reports = peer.listen(DiagnosticArray, "diagnostics")
    bridge = rig.start_bridge()
    await rig.file()
    await until(lambda: peer.node.count_publishers("cmd_vel/nats") > 0)
    bad = {
        b'{"linear":{"x":NaN}}': "not_json",
        b'{"linear":{"x":1e999}}': "not_json",
        b'{"linear":{"x":"fast"}}': "not_number",
        b'{"linear":{"x":0.4},': "not_json",
        b"x" * 1_000_000: "too_big",
        b'{"linaer":{"x":0.4}}': "unknown_field",
        b"[]": "not_object",
    }
    subject = f"dt.{rig.robot}.cmd.cmd_vel"
    for payload in bad:
        await client.publish(subject, payload)
    await client.publish(f"dt.{rig.robot}.cmd.rm_rf", b"{}")
    found = await refusals(reports, len(bad) + 1)
    assert {key.removeprefix("refused.") for key in found if key.startswith("refused.")} == {
        *bad.values(),
        "topic_not_allowed",
    }
    assert heard == []
    assert bridge.process.poll() is None


async def test_json_goes_out_and_in_where_the_routes_say_so(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    heard = peer.listen(PoseStamped, "goal_pose")
    params = {"routes.c.topic": "chatter", "routes.c.encoding": "json"}
    rig.start_bridge(**params)
    publisher = peer.node.create_publisher(String, "chatter", 10)
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(String(data="ünï"))
    message = await inbox.next_msg(timeout=5)
    assert json.loads(message.data) == {"data": "ünï"}
    assert message.headers is not None
    assert message.headers["Dt-Encoding"] == "json"
    while not heard:
        goal = b'{"pose":{"position":{"x":2.5}}}'
        await client.publish(f"dt.{rig.robot}.cmd.goal_pose", goal)
        await asyncio.sleep(0.05)
    assert heard[0].pose.position.x == 2.5
    assert heard[0].pose.orientation.w == 1.0


async def test_foxglove_sees_the_same_bytes_and_their_definition(rig: Rig, peer: Peer) -> None:
    rig.start_bridge(nats_url="''")
    publisher = peer.node.create_publisher(String, "chatter", 10)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        channel = await viewer.wait_channel("/chatter")
        assert (channel.encoding, channel.schema_encoding) == ("cdr", "ros2msg")
        assert channel.schema_name == "std_msgs/msg/String"
        assert "string data" in channel.schema
        assert publisher.get_subscription_count() == 0
        subscription = await viewer.subscribe("/chatter")
        await until(lambda: publisher.get_subscription_count() > 0)
        sent = String(data="hello")
        publisher.publish(sent)
        assert (await viewer.receive()).payload.startswith(serialize_message(sent))
        await viewer.unsubscribe(subscription)
        await until(lambda: publisher.get_subscription_count() == 0)


@pytest.mark.parametrize("encoding", ["json", "cdr"])
async def test_a_foxglove_panel_drives(rig: Rig, peer: Peer, encoding: str) -> None:
    heard = peer.listen(Twist, "cmd_vel")
    rig.start_bridge(nats_url="''")
    twist = Twist()
    twist.linear.x = 0.5
    payload: Any = {"linear": {"x": 0.5, "y": 0, "z": 0}, "angular": {"x": 0, "y": 0, "z": 0}}
    if encoding == "cdr":
        payload = serialize_message(twist)
    async with open_client((await rig.file()).foxglove_url) as panel:
        channel = await panel.advertise("/cmd_vel", encoding=encoding)
        while not heard:
            await panel.publish(channel, payload)
            await asyncio.sleep(0.05)
        assert heard[-1] == twist
    await until(lambda: heard[-1] == Twist())


async def test_a_foxglove_client_may_not_publish_everywhere(rig: Rig, peer: Peer) -> None:
    reports = peer.listen(DiagnosticArray, "diagnostics")
    rig.start_bridge(nats_url="''")
    async with open_client((await rig.file()).foxglove_url) as panel:
        channel = await panel.advertise("/secret", "std_msgs/msg/String", "cdr")
        assert await panel.wait_status("/secret")
        await panel.publish(channel, serialize_message(String(data="x")))
        found = await refusals(reports, 1, "bridge: foxglove")
    assert found["refused.topic_not_allowed"] == "1"
    assert peer.node.count_publishers("secret") == 0


async def test_a_flood_of_garbage_moves_nothing_and_ends_nothing(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    heard = peer.listen(TwistStamped, "cmd_vel/nats")
    reports = peer.listen(DiagnosticArray, "diagnostics")
    bridge = rig.start_bridge()
    await rig.file()
    dice = random.Random(1)
    seed = b'{"linear":{"x":NaN,"y":"1"},"angular":[1]}\x00\xff'
    total = 20_000
    for count in range(total):
        junk = bytes(dice.choices(seed, k=dice.randrange(60)))
        await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", junk)
        if count % 500 == 0:
            await client.flush()
    await refusals(reports, total)
    assert heard == []
    assert bridge.process.poll() is None


async def test_a_payload_over_the_servers_bound_leaves_in_pieces(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    bridge = rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 10)
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    sent = String(data="0123456789" * 900_000)
    publisher.publish(sent)
    assembler, whole = Assembler(), None
    while whole is None:
        message = await inbox.next_msg(timeout=10)
        whole = assembler.take(message.headers, message.data)
    assert deserialize_message(whole, String) == sent
    assert "/chatter: a message of 9000" in bridge.text()


async def test_a_payload_over_the_servers_bound_is_dropped_where_its_route_says_so(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    reports = peer.listen(DiagnosticArray, "diagnostics")
    bridge = rig.start_bridge(**{"routes.c.topic": "chatter", "routes.c.oversize": "drop"})
    publisher = peer.node.create_publisher(String, "chatter", 10)
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(String(data="x" * 9_000_000))
    await until(
        lambda: reports and values(reports[-1], "bridge: nats").get("dropped_oversize") == "1"
    )
    assert "/chatter: a message of 9000" in bridge.text()
    publisher.publish(String(data="small"))
    assert b"small" in (await inbox.next_msg(timeout=5)).data


async def test_a_second_viewer_gets_what_is_latched_and_the_first_gets_it_once(
    rig: Rig, peer: Peer
) -> None:
    rig.start_bridge(nats_url="''")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = peer.node.create_publisher(String, "robot_description", latched)
    publisher.publish(String(data="urdf"))
    url = (await rig.file()).foxglove_url
    async with open_client(url) as first, open_client(url) as second:
        await first.subscribe("/robot_description")
        assert b"urdf" in (await first.receive()).payload
        await second.subscribe("/robot_description")
        assert b"urdf" in (await second.receive()).payload
        publisher.publish(String(data="newer"))
        assert b"newer" in (await first.receive()).payload
        assert b"newer" in (await second.receive()).payload
