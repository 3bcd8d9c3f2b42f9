"""A whole simulated robot, seen from outside: NATS, Foxglove, and nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import orjson
import pytest
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bringup.rig import CAMERA, Operator, Rig, until
from dialtone_core.wire import ENCODING, SEQ, STAMP_NS, TYPE, command_subject
from dialtone_ros.types import decode

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _decoded(type_name: str, message: Msg) -> Any:
    return decode(type_name, message.data)


async def _pose(operator: Operator) -> tuple[float, float]:
    position = _decoded("nav_msgs/msg/Odometry", await operator.next("odom")).pose.pose.position
    return position.x, position.y


async def _speed(operator: Operator) -> float:
    twist = _decoded("nav_msgs/msg/Odometry", await operator.next("odom")).twist.twist
    return float(np.hypot(twist.linear.x, twist.linear.y))


async def _standing(operator: Operator) -> None:
    async def stands() -> bool:
        return await _speed(operator) < 0.01

    await until("the vehicle stands", stands)


async def _bridge_counts(operator: Operator) -> dict[str, str]:
    """Every figure that the bridge reports on diagnostics."""

    counts: dict[str, str] = {}

    async def look() -> bool:
        array = _decoded("diagnostic_msgs/msg/DiagnosticArray", await operator.next("diagnostics"))
        mine = [each for each in array.status if each.name.startswith("bridge")]
        counts.update({value.key: value.value for each in mine for value in each.values})
        return bool(mine)

    await until("the bridge reports", look)
    return counts


async def test_pictures_arrive_as_bare_jpegs_with_their_stamps(operator: Operator) -> None:
    message = await operator.next(CAMERA)
    headers = message.headers or {}
    assert message.data[:2] == b"\xff\xd8"
    assert message.data[-2:] == b"\xff\xd9"
    assert headers[ENCODING] == "jpeg"
    assert headers[TYPE] == "sensor_msgs/msg/CompressedImage"
    assert abs(time.time_ns() - int(headers[STAMP_NS])) < 1_000_000_000


async def test_no_picture_is_lost_on_its_way(operator: Operator) -> None:
    sequence: list[int] = []
    enough = asyncio.Event()

    async def on_frame(message: Msg) -> None:
        sequence.append(int((message.headers or {})[SEQ]))
        if len(sequence) == 90:
            enough.set()

    await operator.watch(CAMERA, on_frame)
    await asyncio.wait_for(enough.wait(), 15)
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))


async def test_one_line_over_nats_drives_the_robot_and_silence_stops_it(
    operator: Operator,
) -> None:
    await operator.drive(0.5, 0.0, 1.0)
    before = await _pose(operator)
    await operator.drive(0.5, 0.0, 1.5)
    after = await _pose(operator)
    assert np.hypot(after[0] - before[0], after[1] - before[1]) > 0.3
    await _standing(operator)


async def test_turning_left_raises_the_yaw(operator: Operator) -> None:
    await operator.drive(0.0, 0.8, 1.0)
    twist = _decoded("nav_msgs/msg/Odometry", await operator.next("odom")).twist.twist
    assert twist.angular.z > 0.2
    await _standing(operator)


async def test_what_was_sent_goes_to_zero_within_300_ms_of_the_last_command(
    operator: Operator,
) -> None:
    applied: list[tuple[float, float]] = []

    async def on_applied(message: Msg) -> None:
        twist = _decoded("geometry_msgs/msg/TwistStamped", message).twist
        applied.append((time.monotonic(), twist.linear.x))

    await operator.watch("teleop/applied", on_applied)
    await operator.drive(0.4, 0.0, 1.0)
    last_command = time.monotonic() - 1 / 20

    async def stopped() -> bool:
        return any(x == 0.0 and at > last_command for at, x in applied)

    await until("a zero was sent", stopped)
    first_zero = next(at for at, x in applied if x == 0.0 and at > last_command)
    assert first_zero - last_command < 0.35
    await _standing(operator)


async def test_a_foxglove_teleop_panel_drives(operator: Operator, rig: Rig) -> None:
    before = await _pose(operator)
    async with open_client(rig.foxglove_url) as client:
        channel = await client.advertise("/cmd_vel", "geometry_msgs/Twist", "json")
        body = {"linear": {"x": 0.5, "y": 0, "z": 0}, "angular": {"x": 0, "y": 0, "z": 0}}
        for _ in range(15):
            await client.publish(channel, body)
            await asyncio.sleep(0.1)
    after = await _pose(operator)
    assert np.hypot(after[0] - before[0], after[1] - before[1]) > 0.2
    await _standing(operator)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"linear":{"x":NaN}}', "not_json"),
        (b'{"linear":{"x":Infinity}}', "not_json"),
        (b'{"linear":{"x":"fast"}}', "not_number"),
        (b'{"linear":{"x":0.5', "not_json"),
        (b"forward!", "not_json"),
        (b"\x00\xff" * 3000, "too_big"),
        (b"[" * 4000, "not_json"),
        (b'{"linear":{"x":1e308},"angular":{"z":1e309}}', "not_json"),
    ],
)
async def test_junk_is_counted_by_name_and_moves_nothing(
    operator: Operator, payload: bytes, reason: str
) -> None:
    await _standing(operator)
    before = await _pose(operator)
    for _ in range(5):
        await operator.send(payload)

    async def counted() -> bool:
        counts = await _bridge_counts(operator)
        return any(reason in key and int(value) >= 5 for key, value in counts.items())

    await until(f"{reason} is counted", counted)
    assert await _pose(operator) == pytest.approx(before, abs=0.01)


async def test_ten_megabytes_on_a_command_subject_are_refused_and_the_bridge_lives(
    operator: Operator, rig: Rig
) -> None:
    client = await rig.nats("junk")
    subject = command_subject(rig.robot, "cmd_vel")
    try:
        await client.publish(subject, b"x" * 10_000_000)
        await client.flush()
    except MaxPayloadError:
        await client.publish(subject, b"x" * (client.max_payload - 1))
        await client.flush()
    await operator.drive(0.3, 0.0, 0.5)
    assert await _speed(operator) > 0.05
    await _standing(operator)


async def test_every_promised_topic_is_there(operator: Operator) -> None:
    for topic in ("imu/data", "odom", "fix", "battery_state", "teleop/state", "diagnostics"):
        message = await operator.next(topic)
        assert (message.headers or {})[ENCODING] == "cdr"
    info = _decoded("sensor_msgs/msg/CameraInfo", await operator.next("camera/front/camera_info"))
    assert (info.width, info.height) == (640, 480)
    assert info.k[0] > 100


async def test_an_episode_is_recorded_by_a_nats_request_and_read_by_others(
    operator: Operator, rig: Rig
) -> None:
    from pathlib import Path

    from rosbags.highlevel import AnyReader

    started = orjson.loads(await operator.call("recorder", "start", b'{"task":"look around"}'))
    assert started["ok"], started
    refused = orjson.loads(await operator.call("recorder", "start"))
    assert not refused["ok"]
    await operator.drive(0.3, 0.3, 1.0)
    stopped = orjson.loads(await operator.call("recorder", "stop"))
    assert stopped["ok"], stopped
    path = Path(stopped["path"])
    await until("it is closed", lambda: path.exists(), 30)
    with AnyReader([path]) as reader:
        counts = {each.topic: each.msgcount for each in reader.connections}
        for connection, _, raw in reader.messages():
            reader.deserialize(raw, connection.msgtype)
    assert counts[f"/{CAMERA}"] > 20
    assert counts["/teleop/applied"] > 10
    assert counts["/odom"] > 30
