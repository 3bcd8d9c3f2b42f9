"""The Foxglove server between real sockets: slow clients, strangers, garbage, its offers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bridge_rig import until
from test_transport_contract import Feed, Inbox, Said
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from dialtone_bridge.clients.foxglove_client import SUBPROTOCOL, FoxgloveClient, open_client
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.foxglove.assets import Assets
from dialtone_bridge.foxglove.extras import Extras, Graph, graph_update
from dialtone_bridge.foxglove.frames import fixed_joints, quaternion
from dialtone_bridge.foxglove.server import Address
from dialtone_bridge.foxglove.token import read_token
from dialtone_bridge.params import RouteParams
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.foxglove import FoxgloveSettings, FoxgloveTransport
from dialtone_core.errors import ConfigError, DialtoneError, WireError

STRING, PICTURE = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
TOKEN = "0123456789abcdef-secret"
MIB = 1024 * 1024


@dataclass
class Line:
    transport: FoxgloveTransport
    exchange: Exchange
    feed: Feed
    inbox: Inbox
    log: Said

    @property
    def url(self) -> str:
        return self.transport.url


@asynccontextmanager
async def serving(
    extras: Extras | None = None, routes: dict[str, RouteParams] | None = None, **settings: Any
) -> AsyncIterator[Line]:
    inbox, feed, log = Inbox(), Feed(), Said()
    made = FoxgloveSettings("rover", port=0, **settings)
    transport = FoxgloveTransport(made, inbox, log, extras)
    exchange = Exchange(feed, [transport], RouteTable(routes or {}))
    await transport.open()
    running = asyncio.create_task(transport.run())
    try:
        yield Line(transport, exchange, feed, inbox, log)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await transport.aclose()


@asynccontextmanager
async def raw(url: str, topics: Sequence[str]) -> AsyncIterator[asyncio.StreamWriter]:
    """A client that subscribes to ``topics`` (found in order of their ids) and never reads on."""
    host, port = url.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n\r\n"
    )
    async with open_client(url) as other:
        ids = [(await other.wait_channel(topic)).id for topic in topics]
    wants = [{"id": number, "channelId": each} for number, each in enumerate(ids)]
    body = json.dumps({"op": "subscribe", "subscriptions": wants}).encode()
    writer.write(struct.pack(">BBHI", 0x81, 0xFE, len(body), 0) + body)
    await reader.readexactly(1)
    try:
        yield writer
    finally:
        writer.close()


async def test_a_viewer_that_never_reads_costs_the_others_nothing_and_memory_its_bound() -> None:
    routes = {"p": RouteParams(topic="camera", max_messages=10_000, max_bytes=1 << 30)}
    async with serving(client_bytes=4 * MIB, routes=routes) as line:
        line.exchange.found("/camera", PICTURE, "x")
        line.exchange.found("/small", STRING, "string data\n")
        async with raw(line.url, ["/camera", "/small"]), open_client(line.url) as viewer:
            await viewer.subscribe("/camera")
            await viewer.subscribe("/small")
            await until(lambda: line.transport.health().values["clients"] == 2)
            await until(lambda: line.exchange.reports()[0].sinks["foxglove"].clients == 2)
            await until(lambda: line.exchange.reports()[1].sinks["foxglove"].clients == 2)
            for number in range(200):
                line.feed.emit("/camera", bytes([number]) * 200_000)
                line.feed.emit("/small", bytes([number]) * 100)
                got = [await viewer.receive(), await viewer.receive()]
                assert {each.payload[0] for each in got} == {number}
            camera, small = line.exchange.reports()
            assert camera.sinks["foxglove"].waiting * 200_000 <= 4 * MIB
            assert camera.sinks["foxglove"].dropped > 100
            assert small.sinks["foxglove"].dropped == 0


async def test_a_drop_is_told_to_its_client_by_topic_and_taken_back() -> None:
    routes = {"c": RouteParams(topic="chatter", max_messages=5)}
    async with serving(routes=routes) as line, open_client(line.url) as viewer:
        line.exchange.found("/chatter", STRING, "string data\n")
        await viewer.subscribe("/chatter")
        await until(lambda: "/chatter" in line.feed.open)
        for number in range(20):  # without giving the loop a turn
            line.feed.emit("/chatter", bytes([number]))
        status = await viewer.wait_status("messages dropped")
        assert status["message"].startswith("/chatter: 15 messages dropped")
        assert status["level"] == 1
        assert status["id"] == "drop /chatter"
        assert [(await viewer.receive()).payload[0] for _ in range(5)] == [15, 16, 17, 18, 19]


async def test_a_client_takes_a_thousand_topics() -> None:
    async with serving() as line, open_client(line.url) as viewer:
        names = [f"/t{number}" for number in range(1000)]
        for name in names:
            line.exchange.found(name, STRING, "string data\n")
        for name in names:
            await viewer.subscribe(name)
        await until(lambda: len(line.feed.open) == 1000)
        for name in names:
            line.feed.emit(name, b"\0\1\0\0x")
        assert {(await viewer.receive()).topic for _ in names} == set(names)
    await until(lambda: not line.feed.open)


async def test_garbage_is_answered_and_ends_nothing() -> None:
    noise = random.Random(5)
    async with serving() as line:
        async with connect(line.url, subprotocols=[SUBPROTOCOL]) as socket:
            for text in ("", "{", "[]", "null", '"subscribe"', '{"op":"subscribe"}', '{"op":[]}',
                         '{"op":"subscribe","subscriptions":[{"id":1,"channelId":99}]}',
                         '{"op":"advertise","channels":[{"id":"x"}]}', '{"op":"nonsense"}',
                         '{"op":"fetchAsset","uri":1}', '{"op":"getParameters"}'):  # fmt: skip
                await socket.send(text)
            for size in range(200):
                await socket.send(noise.randbytes(size))
            await socket.ping()
        host, port = line.url.removeprefix("ws://").split(":")
        for number in range(50):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(noise.randbytes(200 * number) + b"\r\n\r\n")
            writer.close()
        assert line.inbox.taken == []
        async with open_client(line.url) as viewer:
            line.exchange.found("/chatter", STRING, "string data\n")
            await viewer.wait_channel("/chatter")


@pytest.mark.parametrize("protocol", ["foxglove.sdk.v1", "foxglove.websocket.v1"])
async def test_old_and_new_clients_are_served(protocol: str) -> None:
    async with serving() as line:
        async with connect(line.url, subprotocols=[Subprotocol(protocol)]) as socket:
            assert socket.subprotocol == protocol
            info = json.loads(await socket.recv())
        assert info["op"] == "serverInfo"
        assert info["name"] == "rover"
        assert info["supportedEncodings"] == ["json", "cdr"]


async def test_a_foreign_web_page_may_not_connect() -> None:
    async with serving() as line:
        for good in ("http://localhost:8080", "https://app.foxglove.dev", "file://"):
            async with connect(line.url, subprotocols=[SUBPROTOCOL], origin=Origin(good)):
                pass
        for bad in ("https://evil.example", "null", "https://app.foxglove.dev.evil.example"):
            with pytest.raises(InvalidStatus) as refusal:
                await connect(line.url, subprotocols=[SUBPROTOCOL], origin=Origin(bad))
            assert refusal.value.response.status_code == 403


async def test_clients_from_outside_need_the_token_and_it_is_in_no_log() -> None:
    public = Address("127.0.0.1", 0, TOKEN)
    async with serving(public=public) as line:
        url = f"ws://127.0.0.1:{line.transport.public_port}"
        for wrong in ("", "?token=", "?token=wrong", f"?token={TOKEN}x"):
            with pytest.raises(InvalidStatus) as refusal:
                await connect(f"{url}/{wrong}", subprotocols=[SUBPROTOCOL])
            assert refusal.value.response.status_code == 401
        async with connect(f"{url}/?token={TOKEN}", subprotocols=[SUBPROTOCOL]):
            pass
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(url, subprotocols=[SUBPROTOCOL], additional_headers=bearer):
            pass
        assert line.transport.health().values["turned_away"] == 4
        assert TOKEN not in "".join(line.log.lines)


def test_a_token_file_that_others_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        read_token(str(file))
    file.chmod(0o600)
    assert read_token(str(file)) == TOKEN
    assert read_token("", {"DIALTONE_FOXGLOVE_TOKEN": TOKEN}) == TOKEN
    assert read_token("", {}) == ""
    with pytest.raises(ConfigError, match="fewer than 16"):
        read_token("", {"DIALTONE_FOXGLOVE_TOKEN": "short"})


async def test_tls_by_files(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
        "-out", str(cert), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    async with serving(tls_cert=str(cert), tls_key=str(key)) as line:
        assert line.url.startswith("wss://")
        context = ssl.create_default_context(cafile=str(cert))
        async with connect(line.url, subprotocols=[SUBPROTOCOL], ssl=context) as socket:
            assert json.loads(await socket.recv())["op"] == "serverInfo"


async def test_a_certificate_that_is_none_is_one_line(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("nothing")
    with pytest.raises(ConfigError, match="foxglove_tls_cert"):
        async with serving(tls_cert=str(cert)):
            pass


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


async def reply(client: FoxgloveClient, op: str, skip: int = 0) -> dict[str, Any]:
    found: list[dict[str, Any]] = await until(
        lambda: [each for each in client.texts if each.get("op") == op][skip:]
    )
    return found[0]


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

    assets = Assets([r"package://.+\.stl"], find)
    assert assets.read("package://rover/meshes/body.stl") == b"solid"
    for bad in (
        "package://rover/../secret.stl",
        "package://rover/meshes/%2e%2e/%2e%2e/secret.stl",
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


async def test_simulated_time_is_broadcast() -> None:
    async with serving(Extras(sim_time=True)) as line, open_client(line.url) as client:
        assert "time" in (await reply(client, "serverInfo"))["capabilities"]
        line.transport.broadcast_time(1_000_000_007)
        await until(lambda: client.time_ns == 1_000_000_007)


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


async def test_odometry_leaves_as_a_frame_transform_too() -> None:
    from nav_msgs.msg import Odometry
    from rclpy.serialization import serialize_message

    odom = Odometry(child_frame_id="base_link")
    odom.header.frame_id = "odom"
    odom.header.stamp.sec = 7
    odom.pose.pose.position.x = 1.5
    odom.pose.pose.orientation.z = 1.0
    async with serving() as line, open_client(line.url) as client:
        line.exchange.found("/odom", "nav_msgs/msg/Odometry", "x")
        channel = await client.wait_channel("/odom/transform")
        assert channel.schema_name == "foxglove.FrameTransform"
        await client.subscribe("/odom/transform")
        await until(lambda: "/odom" in line.feed.open)
        line.feed.emit("/odom", bytes(serialize_message(odom)))
        frame = json.loads((await client.receive()).payload)
        assert frame["timestamp"] == {"sec": 7, "nsec": 0}
        assert (frame["parent_frame_id"], frame["child_frame_id"]) == ("odom", "base_link")
        assert frame["translation"] == {"x": 1.5, "y": 0.0, "z": 0.0}
        assert frame["rotation"]["z"] == 1.0
    await until(lambda: not line.feed.open)


def test_the_layouts_name_panels_that_they_configure() -> None:
    import dialtone_bringup

    root = Path(os.path.dirname(dialtone_bringup.__file__)).parent
    layouts = sorted((root / "config" / "foxglove").glob("*.json"))
    assert [each.stem for each in layouts] == ["diagnose", "drive", "record"]

    def leaves(node: Any) -> list[str]:
        if isinstance(node, str):
            return [node]
        return leaves(node["first"]) + leaves(node["second"])

    for path in layouts:
        layout = json.loads(path.read_text())
        assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])
        assert {"globalVariables", "userNodes", "playbackConfig"} <= set(layout)
