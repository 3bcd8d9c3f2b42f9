"""What Foxglove clients see and change of a robot: parameters, graph, assets, QoS that changes."""

from __future__ import annotations

from typing import Any

import pytest
from bridge_rig import Peer, Rig, until
from foxglove_rig import reply
from geometry_msgs.msg import Twist
from rcl_interfaces.srv import ListParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String, UInt32
from std_srvs.srv import SetBool

from dialtone_bridge.clients.foxglove_client import FoxgloveClient, open_client

OPEN = {"nats_url": "''", "settable_parameters": "['/peer[.].*']"}


async def ask(client: FoxgloveClient, *names: str) -> dict[str, Any]:
    before = len(client.texts)
    await client.send({"op": "getParameters", "parameterNames": list(names), "id": "q"})
    found: list[dict[str, Any]] = await until(
        lambda: [e for e in client.texts[before:] if e.get("op") == "parameterValues"]
    )
    return {each["name"]: each["value"] for each in found[0]["parameters"]}


async def test_parameters_of_any_node_are_read_set_and_followed(rig: Rig, peer: Peer) -> None:
    peer.node.declare_parameter("gain", 1.5)
    peer.node.declare_parameter("names", ["a", "b"])
    rig.start_bridge(**OPEN)
    url = (await rig.file()).foxglove_url
    async with open_client(url) as one, open_client(url) as two:
        found: dict[str, Any] = {}
        while "/peer.gain" not in found:
            found = await ask(one)
        assert (found["/peer.gain"], found["/peer.names"]) == (1.5, ["a", "b"])
        assert found["/bridge.read_only"] is False
        await two.send({"op": "subscribeParameterUpdates", "parameterNames": ["/peer.gain"]})
        assert await ask(two, "/peer.gain") == {"/peer.gain": 1.5}
        wanted = [{"name": "/peer.gain", "value": 2, "type": "float64"}]
        await one.send({"op": "setParameters", "parameters": wanted})
        await until(lambda: peer.node.get_parameter("gain").value == 2.0)
        told = await reply(two, "parameterValues", 1)
        assert told["parameters"] == [{"name": "/peer.gain", "value": 2.0, "type": "float64"}]
        await one.send(
            {"op": "setParameters", "parameters": [{"name": "/bridge.read_only", "value": True}]}
        )
        await one.wait_status("parameter_not_allowed")


async def test_a_node_that_does_not_answer_is_left_out(rig: Rig, peer: Peer) -> None:
    stuck = Node("stuck", context=peer.context)
    rig.start_bridge(**OPEN)
    async with open_client((await rig.file()).foxglove_url) as client:
        await until(lambda: peer.node.count_services("/stuck/list_parameters") > 0)
        found: dict[str, Any] = {}
        while "/peer.use_sim_time" not in found:
            found = await ask(client)
        assert not any(name.startswith("/stuck") for name in found)
    stuck.destroy_node()


async def test_the_connection_graph_names_nodes(rig: Rig, peer: Peer) -> None:
    peer.node.create_publisher(String, "chatter", 10)
    peer.node.create_service(ListParameters, "lists", lambda _, response: response)
    rig.start_bridge(allow_services="['lists']", **OPEN)
    async with open_client((await rig.file()).foxglove_url) as client:
        await client.wait_channel("/chatter")
        await client.send({"op": "subscribeConnectionGraph"})
        wanted = {"name": "/chatter", "publisherIds": ["/peer"]}
        await until(
            lambda: any(wanted in each.get("publishedTopics", []) for each in client.texts)
        )
        served = {"name": "/lists", "providerIds": ["/peer"]}
        assert any(served in each.get("advertisedServices", []) for each in client.texts)
        before = len(client.texts)
        peer.node.create_publisher(String, "later", 10)
        await until(lambda: "/later" in str(client.texts[before:]))


async def test_a_publisher_with_weaker_qos_is_heard_by_those_who_look_already(
    rig: Rig, peer: Peer
) -> None:
    strong = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    weak = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    first = peer.node.create_publisher(String, "chatter", strong)
    first.publish(String(data="first"))
    bridge = rig.start_bridge(discovery_period_s=0.1, **OPEN)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/chatter")
        assert b"first" in (await viewer.receive()).payload
        second = peer.node.create_publisher(String, "chatter", weak)
        await until(lambda: second.get_subscription_count() > 0)
        second.publish(String(data="second"))
        while b"second" not in (await viewer.receive()).payload:
            pass
        assert "differ in reliability" in bridge.text()


async def test_a_message_of_another_type_is_refused_and_moves_nothing(
    rig: Rig, peer: Peer
) -> None:
    heard = peer.listen(Twist, "cmd_vel")
    rig.start_bridge(**OPEN)
    async with open_client((await rig.file()).foxglove_url) as panel:
        pose = await panel.advertise("/cmd_vel", "geometry_msgs/Twist", "cdr")
        await panel.publish(pose, b"\0\1\0\0short")
        await panel.wait_status("truncated")
        nothing = await panel.advertise("/cmd_vel", "no_such/Type", "json")
        await panel.publish(nothing, {})
        await panel.wait_status("unknown_type")
        wrong = await panel.advertise("/goal_pose", "geometry_msgs/PoseStamped", "json")
        await panel.publish(wrong, {"linear": {"x": 1}})
        await panel.wait_status("unknown_field")
    assert heard == []


async def test_the_robot_is_described_and_clients_are_counted(rig: Rig, peer: Peer) -> None:
    counts = peer.listen(
        UInt32,
        "bridge/client_count",
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    urdf = rig.folder / "r.urdf"
    urdf.write_text(
        '<robot name="r"><joint name="j" type="fixed"><parent link="base_link"/>'
        '<child link="camera_front"/></joint></robot>'
    )
    rig.start_bridge(robot_description=str(urdf), client_count=True, **OPEN)
    async with open_client((await rig.file()).foxglove_url) as viewer:
        await viewer.subscribe("/robot_description")
        assert b'<robot name="r">' in (await viewer.receive()).payload
        await viewer.subscribe("/tf_static/urdf")
        assert b"camera_front" in (await viewer.receive()).payload
        await until(lambda: counts and counts[-1].data == 1)
    await until(lambda: counts[-1].data == 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<robot", "is no XML"),
        ('<robot><joint type="fixed"><parent link="a"/><child link="b"/><origin xyz="0"/></joint>'
         "</robot>", "is not three numbers"),
        ("\udcff", "can't decode"),
        (None, "No such file"),
    ],
)  # fmt: skip
async def test_a_description_that_cannot_be_shown_is_one_line_and_exit_2(
    rig: Rig, text: str | None, words: str
) -> None:
    urdf = rig.folder / "r.urdf"
    if text is not None:
        urdf.write_text(text, errors="surrogateescape")
    bridge = rig.start_bridge(nats_url="''", robot_description=str(urdf))
    assert bridge.process.wait(15) == 2
    assert words in bridge.text()
    assert "Traceback" not in bridge.text()


async def test_an_address_for_others_without_a_token_is_one_line_and_exit_2(rig: Rig) -> None:
    for params in ({"foxglove_public_host": "0.0.0.0"}, {"foxglove_host": "0.0.0.0"}):
        bridge = rig.start_bridge(nats_url="''", **params)
        assert bridge.process.wait(15) == 2
        assert "there is no token" in bridge.text()


async def test_each_client_gets_what_every_publisher_latched_and_nobody_gets_it_twice(
    rig: Rig, peer: Peer
) -> None:
    rig.start_bridge(nats_url="''")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    makers = [peer.node.create_publisher(String, "fixed", latched) for _ in range(3)]
    for number, maker in enumerate(makers):
        maker.publish(String(data=f"frame {number}"))
    url = (await rig.file()).foxglove_url

    async def three(client: FoxgloveClient) -> list[str]:
        bodies = [(await client.receive(30)).payload for _ in makers]
        return sorted(body[8:-1].decode() for body in bodies)

    frames = ["frame 0", "frame 1", "frame 2"]
    async with open_client(url) as first, open_client(url) as second:
        await first.subscribe("/fixed")
        assert await three(first) == frames
        await second.subscribe("/fixed")
        assert await three(second) == frames
        makers[0].publish(String(data="newer"))
        for client in (first, second):
            assert b"newer" in (await client.receive(30)).payload


async def test_a_client_has_publishers_of_its_own_that_go_with_it(rig: Rig, peer: Peer) -> None:
    heard = peer.listen(Twist, "cmd_vel")
    rig.start_bridge(**OPEN)
    url = (await rig.file()).foxglove_url
    async with open_client(url) as one:
        channel = await one.advertise("/cmd_vel")
        await one.publish(await one.advertise("/nowhere"), {"linear": {}})
        await one.wait_status("/nowhere")
        assert peer.node.count_publishers("cmd_vel") == 0
        async with open_client(url) as two:
            for client in (one, two):
                mine = channel if client is one else await two.advertise("/cmd_vel")
                await client.publish(mine, {"linear": {"x": 0.1}})
            await until(lambda: peer.node.count_publishers("cmd_vel") == 2)
        await until(lambda: peer.node.count_publishers("cmd_vel") == 1)
        before = len(heard)
        await one.publish(channel, {"linear": {"x": 0.2}})
        await until(lambda: [each for each in heard[before:] if each.linear.x == 0.2])
        await one.unadvertise(channel)
        await until(lambda: peer.node.count_publishers("cmd_vel") == 0)
        await until(lambda: heard[-1] == Twist())


async def test_a_read_only_bridge_in_simulated_time_looks_and_touches_nothing(
    rig: Rig, peer: Peer
) -> None:
    heard = peer.listen(Twist, "cmd_vel")
    peer.node.declare_parameter("gain", 1.5)
    peer.node.create_service(SetBool, "teleop/arm", lambda _, response: response)
    clocks = [
        peer.node.create_publisher(Clock, "/clock", QoSProfile(depth=1, reliability=each))
        for each in (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE)
    ]
    chatter = peer.node.create_publisher(String, "chatter", 10)
    rig.start_bridge(use_sim_time=True, read_only=True, **OPEN)
    async with open_client((await rig.file()).foxglove_url) as client:
        # No clock runs yet, and the graph is followed all the same.
        await client.wait_channel("/clock")
        assert "time" in client.server_info["capabilities"]
        await client.subscribe("/chatter")
        for number, clock in enumerate(clocks):
            await until(lambda clock=clock: clock.get_subscription_count() > 0)
            message = Clock()
            message.clock.sec, message.clock.nanosec = 5 + number, 7
            clock.publish(message)
            await until(lambda ns=message.clock.sec * 10**9 + 7: client.time_ns == ns)
        await until(lambda: chatter.get_subscription_count() > 0)
        chatter.publish(String(data="x"))
        assert (await client.receive()).log_ns == 6_000_000_007
        channel = await client.advertise("/cmd_vel")
        await client.wait_status("/cmd_vel takes no messages")
        await client.publish(channel, {"linear": {"x": 1}})
        await client.wait_status("read_only")
        wanted = [{"name": "/peer.gain", "value": 2, "type": "float64"}]
        await client.send({"op": "setParameters", "parameters": wanted})
        await client.wait_status("parameters cannot be set")
        gain: dict[str, Any] = {}
        while not gain:  # names of nodes come later than their topics
            gain = await ask(client, "/peer.gain")
        assert gain == {"/peer.gain": 1.5}
        assert client.services == {}
    assert heard == []
    assert peer.node.count_publishers("cmd_vel") == 0
