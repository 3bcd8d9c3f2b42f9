"""Foxglove's own JavaScript libraries understand our server, and it them (``web/e2e``)."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from bridge_rig import Peer, Rig, until
from geometry_msgs.msg import PointStamped, PoseStamped, PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import SetBool

WEB = Path(__file__).parents[3] / "web"
TOPICS = ("/odom", "/note", "/camera/front/image_raw/compressed")


def lacking(what: str, fix: str) -> NoReturn:
    """Where everything must run nothing may be left out in silence."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}. Fix: {fix}")
    pytest.skip(f"{what}; {fix} to try Foxglove's own client")


@asynccontextmanager
async def npm_client(url: str, *topics: str) -> AsyncIterator[asyncio.subprocess.Process]:
    node = shutil.which("node")
    if node is None:
        lacking("there is no Node", "install Node 20.19 or newer")
    if not (WEB / "node_modules" / "@foxglove" / "ws-protocol").is_dir():
        lacking("Foxglove's libraries are missing", "run npm ci in web/")
    pipe = asyncio.subprocess.PIPE
    made = await asyncio.create_subprocess_exec(
        node, str(WEB / "e2e" / "foxglove.mjs"), url, *topics, stdin=pipe, stdout=pipe
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


def odometry() -> Odometry:
    made = Odometry(child_frame_id="base_link")
    made.header.frame_id = "odom"
    made.header.stamp.sec, made.header.stamp.nanosec = 7, 8
    made.pose.pose.position.x = math.pi
    made.pose.covariance[35] = 0.125
    made.twist.twist.linear.x = -1.5
    return made


async def test_foxgloves_own_client_sees_drives_calls_and_asks(rig: Rig, peer: Peer) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node = peer.node
    node.declare_parameter("gain", 1.5)
    twists = peer.listen(Twist, "cmd_vel")
    goals = peer.listen(PoseStamped, "goal_pose")
    estimates = peer.listen(PoseWithCovarianceStamped, "initialpose")
    points = peer.listen(PointStamped, "clicked_point")

    def arm(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = request.data, "on, ünïcode"
        return response

    node.create_service(SetBool, "teleop/arm", arm)
    node.create_publisher(String, "note", latched).publish(String(data="grüße"))
    node.create_publisher(Odometry, "odom", latched).publish(odometry())
    picture = CompressedImage(format="jpeg", data=bytes(range(256)))
    node.create_publisher(CompressedImage, TOPICS[2], latched).publish(picture)
    rig.start_bridge(nats_url="''")
    url = (await rig.file()).foxglove_url
    async with npm_client(url, *TOPICS) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert (await asyncio.wait_for(client.stdout.readline(), 45)).strip() == b"driving"
        await until(lambda: {0.0, 0.25} <= {each.angular.z for each in twists})
        assert {(e.linear.x, e.angular.z) for e in twists} == {(0.5, 0.0), (0.0, 0.25)}
        client.stdin.write(b"\n")
        told = json.loads(await asyncio.wait_for(client.stdout.readline(), 15))
    await until(lambda: (twists[-1].linear.x, twists[-1].angular.z) == (0.0, 0.0))
    assert (told["errors"], told["statuses"]) == ([], [])
    assert told["info"]["name"] == rig.robot
    assert told["info"]["supportedEncodings"] == ["cdr", "json"]
    assert re.fullmatch("[a-z]+", told["info"]["metadata"]["ROS_DISTRO"])
    for clicks in (goals, estimates, points):  # once in CDR, once in JSON
        await until(lambda clicks=clicks: len(clicks) == 2)
        assert {(e.header.stamp.sec, e.header.stamp.nanosec) for e in clicks} == {(7, 8)}
        assert {e.header.frame_id for e in clicks} == {"map"}
    for each in goals:
        assert (each.pose.position.x, each.pose.position.y) == (1.0, 2.0)
        assert each.pose.orientation.w == 1.0
    assert all(list(e.pose.covariance) == [0.25] * 36 for e in estimates)
    assert {(e.point.x, e.point.y) for e in points} == {(1.0, 2.0)}
    odom, note, camera = (told["messages"][topic] for topic in TOPICS)
    assert odom["type"] == "nav_msgs/msg/Odometry"
    assert odom["message"]["header"] == {"stamp": {"sec": 7, "nanosec": 8}, "frame_id": "odom"}
    assert odom["message"]["pose"]["pose"]["position"]["x"] == math.pi
    assert odom["message"]["pose"]["covariance"] == [0] * 35 + [0.125]
    assert odom["message"]["twist"]["twist"]["linear"]["x"] == -1.5
    assert note["message"] == {"data": "grüße"}
    assert camera["message"]["data"] == list(range(256))
    assert told["arm"] == {"success": True, "message": "on, ünïcode"}
    assert told["parameters"] == [{"name": "/peer.gain", "value": 1.5, "type": "float64"}]
    assert {"name": "/odom", "publisherIds": ["/peer"]} in told["graph"]
    assert "leaves its package" in told["asset"]
