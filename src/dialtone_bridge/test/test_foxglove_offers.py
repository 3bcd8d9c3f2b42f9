"""What a Foxglove server offers beside topics: parameters, graph, assets, time, frames."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bridge_rig import until
from foxglove_rig import reply, serving
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.foxglove.assets import Assets
from dialtone_bridge.foxglove.extras import Extras, Graph, graph_update
from dialtone_bridge.foxglove.frames import fixed_joints, quaternion
from dialtone_bridge.params import BridgeParams
from dialtone_core.errors import DialtoneError, WireError


@dataclass
class Knobs:
    """Parameters that are a dict."""

    values: dict[str, Any] = field(default_factory=lambda: {"/a.x": 1, "/a.y": "two"})

    async def get(self, names: Sequence[str]) -> list[dict[str, Any]]:
        return [{"name": n, "value": v} for n, v in self.values.items() if not names or n in names]

    async def set(self, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        for each in parameters:
            if each["name"] not in self.values:
                raise WireError("parameter_not_allowed", each["name"])
            self.values[each["name"]] = each["value"]
        return await self.get([each["name"] for each in parameters])


async def test_parameters_are_read_set_and_followed() -> None:
    extras = Extras(parameters=Knobs())
    async with (
        serving(extras) as line,
        open_client(line.url) as one,
        open_client(line.url) as two,
    ):
        await one.send({"op": "getParameters", "parameterNames": [], "id": "q"})
        got = await reply(one, "parameterValues")
        assert got["id"] == "q"
        assert got["parameters"] == [
            {"name": "/a.x", "value": 1},
            {"name": "/a.y", "value": "two"},
        ]
        await two.send({"op": "subscribeParameterUpdates", "parameterNames": ["/a.x"]})
        await two.send({"op": "getParameters", "parameterNames": ["/a.y"], "id": "sync"})
        await reply(two, "parameterValues")
        wanted = [{"name": "/a.x", "value": 5}]
        await one.send({"op": "setParameters", "parameters": wanted, "id": "s"})
        assert (await reply(one, "parameterValues", 1))["parameters"] == wanted
        assert (await reply(two, "parameterValues", 1))["parameters"] == wanted


async def test_read_only_sets_no_parameter() -> None:
    knobs = Knobs()
    async with serving(Extras(knobs), read_only=True) as line, open_client(line.url) as client:
        await client.send({"op": "setParameters", "parameters": [{"name": "/a.x", "value": 5}]})
        await client.wait_status("read_only")
        assert knobs.values["/a.x"] == 1


@pytest.mark.parametrize(("read_only", "there"), [(False, True), (True, False)])
async def test_a_read_only_server_offers_neither_publishing_nor_services(
    read_only: bool, there: bool
) -> None:
    async with serving(read_only=read_only) as line, open_client(line.url) as client:
        found = (await reply(client, "serverInfo"))["capabilities"]
        assert ({"clientPublish", "services"} <= set(found)) is there


async def test_a_topic_described_in_idl_says_so() -> None:
    async with serving() as line, open_client(line.url) as client:
        idl = f"{'=' * 80}\nIDL: a_msgs/msg/B\nmodule a_msgs {{}};\n"
        line.exchange.found("/idl", "a_msgs/msg/B", idl)
        line.exchange.found("/msg", "std_msgs/msg/String", "string data\n")
        assert (await client.wait_channel("/idl")).schema_encoding == "ros2idl"
        assert (await client.wait_channel("/msg")).schema_encoding == "ros2msg"


async def test_the_graph_is_told_whole_then_by_its_changes() -> None:
    graphs = [Graph({"/odom": ["/teleop"]}, {"/odom": ["/bridge"]}, {"/arm": ["/teleop"]})]

    async def graph() -> Graph:
        return graphs[-1]

    async with serving(Extras(graph=graph)) as line, open_client(line.url) as client:
        await client.send({"op": "subscribeConnectionGraph"})
        first = await reply(client, "connectionGraphUpdate")
        assert first["publishedTopics"] == [{"name": "/odom", "publisherIds": ["/teleop"]}]
        graphs.append(Graph({}, {}, {}))
        await until(lambda: any(each.get("removedTopics") == ["/odom"] for each in client.texts))


def test_a_graph_that_did_not_change_says_nothing() -> None:
    graph = Graph({"/odom": ["/teleop"]})
    assert graph_update(graph, graph) is None


async def test_assets_come_from_packages_alone(tmp_path: Path) -> None:
    share = tmp_path / "share"
    (share / "meshes").mkdir(parents=True)
    (share / "meshes" / "body.stl").write_bytes(b"solid")
    (tmp_path / "secret.stl").write_bytes(b"key")

    def find(package: str) -> Path:
        if package != "rover":
            raise LookupError(package)
        return share

    (share / "meshes" / "front left+1.STL").write_bytes(b"wheel")
    assets = Assets(BridgeParams().allow_assets, find)
    for name in ("front left+1.STL", "front%20left+1.STL", "front%20left%2b1.STL"):
        assert assets.read(f"package://rover/meshes/{name}") == b"wheel"
    assert assets.read("package://rover/meshes/body.stl") == b"solid"
    for bad in (
        "package://rover/../secret.stl",
        "package://rover/meshes/%2e%2e/%2e%2e/secret.stl",
        "package://rover/meshes/..%2F../secret.stl",
        "package://rover%2f..%2f/secret.stl",
        "package://rover/meshes/%252e%252e/%252e%252e/secret.stl",
        "package://rover/meshes\\..\\..\\secret.stl",
        "package://%2e%2e/secret.stl",
        "package://./secret.stl",
        "package:///secret.stl",
        "package://rover//etc/x.stl",
        "package://rover/meshes/none.stl",
        "package://other/meshes/body.stl",
        "package://../secret.stl",
        "file:///etc/passwd.stl",
        "package://rover/meshes/body.sh",
    ):
        with pytest.raises(DialtoneError):
            assets.read(bad)
    async with serving(Extras(asset=assets.read)) as line, open_client(line.url) as client:
        assert await client.fetch("package://rover/meshes/body.stl") == b"solid"
        with pytest.raises(RuntimeError, match="leaves its package"):
            await client.fetch("package://rover/../secret.stl")


def odometry() -> bytes:
    odom = Odometry(child_frame_id="base_link")
    odom.header.frame_id = "odom"
    odom.header.stamp.sec = 7
    odom.pose.pose.position.x = 1.5
    odom.pose.pose.orientation.z = 1.0
    return bytes(serialize_message(odom))


async def test_simulated_time_is_told_and_is_the_log_time_of_messages() -> None:
    async with serving(Extras(sim_time=True)) as line, open_client(line.url) as client:
        assert "time" in (await reply(client, "serverInfo"))["capabilities"]
        line.exchange.found("/chatter", "std_msgs/msg/String", "string data\n")
        line.exchange.found("/odom", "nav_msgs/msg/Odometry", "x")
        await client.subscribe("/chatter")
        await client.subscribe("/odom/transform")
        await until(lambda: line.feed.open.keys() == {"/chatter", "/odom"})
        line.feed.emit("/chatter", b"before any clock")
        assert (await client.receive()).log_ns == 0
        line.transport.broadcast_time(1_000_000_007)
        await until(lambda: client.time_ns == 1_000_000_007)
        line.feed.emit("/chatter", b"x")
        assert (await client.receive()).log_ns == 1_000_000_007
        line.feed.emit("/odom", odometry())
        assert (await client.receive()).log_ns == 1_000_000_007
    async with serving() as line, open_client(line.url) as client:
        line.exchange.found("/chatter", "std_msgs/msg/String", "string data\n")
        await client.subscribe("/chatter")
        await until(lambda: line.feed.open)
        line.feed.emit("/chatter", b"x")
        assert (await client.receive()).log_ns == 1  # when the feed says that it came


def test_fixed_joints_become_frames() -> None:
    urdf = """<robot name="r"><joint name="a" type="fixed"><parent link="base_link"/>
      <child link="camera_front"/><origin xyz="0.2 0 0.35" rpy="0 0 1.5707963267948966"/></joint>
      <joint name="b" type="continuous"><parent link="base_link"/><child link="wheel"/></joint>
      </robot>"""
    (frame,) = fixed_joints(urdf)
    assert (frame["parent_frame_id"], frame["child_frame_id"]) == ("base_link", "camera_front")
    assert frame["translation"] == {"x": 0.2, "y": 0.0, "z": 0.35}
    assert frame["rotation"]["z"] == pytest.approx(2**-0.5)
    assert quaternion(0, 0, 0) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="no XML"):
        fixed_joints("<robot>")
    for bad, words in (("0 0", "xyz='0 0' of a joint is not three"), ("0 0 nan", "not finite")):
        with pytest.raises(ValueError, match=words):
            fixed_joints(urdf.replace("0.2 0 0.35", bad))


async def test_odometry_leaves_as_a_frame_transform_too() -> None:
    async with serving() as line, open_client(line.url) as client:
        line.exchange.found("/odom", "nav_msgs/msg/Odometry", "x")
        channel = await client.wait_channel("/odom/transform")
        assert channel.schema_name == "foxglove.FrameTransform"
        await client.subscribe("/odom/transform")
        await until(lambda: "/odom" in line.feed.open)
        line.feed.emit("/odom", odometry())
        frame = json.loads((await client.receive()).payload)
        assert frame["timestamp"] == {"sec": 7, "nsec": 0}
        assert (frame["parent_frame_id"], frame["child_frame_id"]) == ("odom", "base_link")
        assert frame["translation"] == {"x": 1.5, "y": 0.0, "z": 0.0}
        assert frame["rotation"]["z"] == 1.0
    await until(lambda: not line.feed.open)
