"""The bridge as a process, between real DDS, a real NATS server and real WebSocket clients."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
import typer
from bridge_rig import Peer, Rig, until
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import SetBool
from typer.testing import CliRunner

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.verbs.routes import routes
from dialtone_core.aio import timeout
from dialtone_core.chunks import Assembler
from dialtone_core.errors import DialtoneError
from dialtone_core.paths import RobotFile

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20 + b"\xff\xd9"


def picture() -> CompressedImage:
    message = CompressedImage(format="jpeg", data=JPEG)
    message.header.stamp.sec = 12
    message.header.stamp.nanosec = 34
    message.header.frame_id = "camera_front"
    return message


def values(array: DiagnosticArray, part: str) -> dict[str, str]:
    for status in array.status:
        if status.name == part:
            return {each.key: each.value for each in status.values}
    return {}


async def refusals(heard: list[Any], total: int, part: str = "bridge: nats") -> dict[str, str]:
    """The values of ``part`` once ``total`` commands were refused, or gave way unread."""

    def enough() -> dict[str, str] | None:
        found = values(heard[-1], part) if heard else {}
        gone = sum(int(found.get(f"commands_{how}", 0)) for how in ("refused", "overrun"))
        return found if gone >= total else None

    found: dict[str, str] = await until(enough)
    return found


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


async def test_the_bridge_may_start_before_its_server(rig: Rig, peer: Peer) -> None:
    bridge = rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 10)
    await until(lambda: "trying on" in bridge.text())
    assert RobotFile.read(rig.robot) is None
    rig.start_server()
    await rig.file()
    listener = await nats.connect(rig.nats_url)
    inbox = await listener.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await listener.flush()
    await until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(String(data="late"))
    assert b"late" in (await inbox.next_msg(timeout=5)).data
    await listener.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_the_runtime_file_lives_as_long_as_the_bridge(
    rig: Rig, client: nats.NATS, signum: int
) -> None:
    bridge = rig.start_bridge()
    found = await rig.file()
    assert found.pid == bridge.process.pid
    assert found.nats_url == rig.nats_url
    assert found.foxglove_url.startswith("ws://127.0.0.1:")
    assert bridge.stop(signum) == 0
    assert RobotFile.read(rig.robot) is None


async def test_a_foxglove_port_in_use_is_one_line_and_exit_2(rig: Rig, client: nats.NATS) -> None:
    bridge = rig.start_bridge(foxglove_port=rig.port)
    assert await asyncio.to_thread(bridge.process.wait, 15) == 2
    lines = [line for line in bridge.text().splitlines() if "FATAL" in line]
    assert len(lines) == 1
    assert f":{rig.port}" in lines[0]
    assert "Fix:" in lines[0]


async def test_a_server_port_in_use_is_one_line_and_exit_2(rig: Rig, client: nats.NATS) -> None:
    second = rig.start_server()
    assert await asyncio.to_thread(second.process.wait, 15) == 2
    assert second.text().count("\n") == 1
    assert str(rig.port) in second.text()


async def test_the_server_dies_with_whoever_started_it(rig: Rig) -> None:
    script = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'dialtone_bridge.nats_server',"
        f" '--robot', '{rig.robot}', '--port', '{rig.port}', '--ros-args', '-r', 'x:=y'])\n"
        "print(p.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    command = Path(f"/proc/{pid}/cmdline")
    await until(lambda: b"nats-server" in command.read_bytes())
    parent.kill()
    await parent.wait()
    await until(lambda: not command.exists() or not command.read_bytes())


async def test_the_table_of_routes_is_told_with_live_rates(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 10)
    await rig.file()
    await client.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await until(lambda: publisher.get_subscription_count() == 1)
    peer.node.create_timer(0.02, lambda: publisher.publish(String(data="x" * 100)))
    rows: dict[str, Any] = {}
    async with timeout(15):
        while not 40 < rows.get("/chatter", {}).get("rate_hz", 0) < 60:
            reply = await client.request(f"dt.{rig.robot}.srv.bridge.routes", b"{}", timeout=5)
            answer = json.loads(reply.data)
            assert answer["ok"]
            rows = {row["topic"]: row for row in answer["routes"]}
            await asyncio.sleep(0.1)
    assert rows["/chatter"]["subscribed"]
    assert rows["/chatter"]["transports"]["nats"]["sent"] > 0
    assert rows["/chatter"]["age_s"] < 1
    assert not rows["/diagnostics"]["subscribed"]
    shown = await asyncio.to_thread(CliRunner().invoke, _app(), ["--robot", rig.robot, "--json"])
    assert {row["topic"] for row in json.loads(shown.output)["routes"]} >= {"/chatter"}


def test_routes_of_a_robot_that_is_not_there_is_one_line() -> None:
    shown = CliRunner().invoke(_app(), ["--robot", "nobody"])
    assert isinstance(shown.exception, DialtoneError)
    assert "dialtone up" in str(shown.exception)


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(routes)
    return app


async def test_telemetry_resumes_after_the_server_was_killed_and_nothing_stale_comes(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    server = rig.children[0]
    bridge = rig.start_bridge()
    heard = peer.listen(TwistStamped, "cmd_vel/nats")
    publisher = peer.node.create_publisher(String, "chatter", 10)
    subject = f"dt.{rig.robot}.tlm.chatter"
    inbox = await client.subscribe(subject)
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    server.stop(signal.SIGKILL)
    await until(lambda: "disconnected" in bridge.text())
    for _ in range(50):
        publisher.publish(String(data="stale"))
    rig.start_server()
    await until(lambda: bridge.text().count("connected to") == 2)
    await until(lambda: client.is_connected)
    async with timeout(15):
        message = None
        while message is None:
            publisher.publish(String(data="fresh"))
            with suppress(nats.errors.TimeoutError):
                message = await inbox.next_msg(timeout=0.2)
        assert b"fresh" in message.data
        while not heard:
            await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", b'{"linear":{"x":0.1}}')
            await asyncio.sleep(0.05)


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


async def test_a_nats_client_calls_a_ros_service(rig: Rig, peer: Peer, client: nats.NATS) -> None:
    asked: list[bool] = []

    def stop(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        asked.append(request.data)
        response.success, response.message = True, "latched"
        return response

    peer.node.create_service(SetBool, "teleop/estop", stop)
    peer.node.create_service(SetBool, "private/thing", stop)
    rig.start_bridge()
    await rig.file()
    subject = f"dt.{rig.robot}.srv.ros.teleop.estop"

    async def ask(subject: str, body: bytes) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads((await client.request(subject, body, timeout=8)).data)
        return reply

    answer: dict[str, Any] = {}
    async with timeout(15):
        while not answer:
            with suppress(nats.errors.NoRespondersError):  # it is served once the bridge saw it
                answer = await ask(subject, b'{"data":true}')
    assert answer == {"ok": True, "success": True, "message": "latched"}
    assert asked == [True]
    with pytest.raises(nats.errors.NoRespondersError):
        await ask(f"dt.{rig.robot}.srv.ros.private.thing", b"{}")
    infos = await client.subscribe("_INBOX.micro")
    await client.publish(f"$SRV.INFO.{rig.robot}-ros", b"", reply="_INBOX.micro")
    endpoints = json.loads((await infos.next_msg(timeout=5)).data)["endpoints"]
    assert [(each["subject"], each["metadata"]) for each in endpoints] == [
        (subject, {"type": "std_srvs/srv/SetBool"})
    ]
    refused = await client.request(subject, b'{"dato":1}', timeout=8)
    assert refused.headers["Nats-Service-Error-Code"] == "400"
    assert "unknown_field" in (await ask(subject, b'{"dato":1}'))["error"]
    assert "not JSON" in (await ask(subject, b"{"))["error"]
    assert asked == [True]


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


async def test_a_foxglove_client_calls_a_ros_service(rig: Rig, peer: Peer) -> None:
    def arm(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = request.data, "armed"
        return response

    peer.node.create_service(SetBool, "teleop/arm", arm)
    rig.start_bridge(nats_url="''")
    async with open_client((await rig.file()).foxglove_url) as viewer:
        request = serialize_message(SetBool.Request(data=True))
        answer = await viewer.call("/teleop/arm", request)
        response = deserialize_message(answer, SetBool.Response)
        assert (response.success, response.message) == (True, "armed")
        with pytest.raises(RuntimeError):
            await viewer.call("/teleop/arm", b"junk")


async def test_a_nats_client_lists_gets_and_sets_parameters(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    rig.start_bridge(settable_parameters="['/peer.speed']")
    peer.node.declare_parameter("speed", 1.5)
    peer.node.declare_parameter("secret", "x")
    await rig.file()

    async def ask(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        subject = f"dt.{rig.robot}.srv.params.{verb}"
        reply = await client.request(subject, json.dumps(body).encode(), timeout=10)
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    names: list[str] = []
    async with timeout(15):
        while "/peer.speed" not in names:
            names = (await ask("list", {}))["names"]
    speed = {"name": "/peer.speed", "value": 2.5, "type": "float64"}
    assert (await ask("set", {"parameters": [speed]}))["parameters"] == [speed]
    assert (await ask("get", {"names": ["/peer.speed"]}))["parameters"] == [speed]
    assert peer.node.get_parameter("speed").value == 2.5
    refused = await ask("set", {"parameters": [{"name": "/peer.secret", "value": "y"}]})
    assert not refused["ok"]
    assert "parameter_not_allowed" in refused["error"]
    assert not (await ask("get", {"names": "all"}))["ok"]
