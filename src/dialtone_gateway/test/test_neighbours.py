"""Signalling peers, Tailscale, tunnels, Foxglove and WebRTC: with the real other side."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import web

from dialtone_core.clock import FakeClock
from dialtone_core.errors import ConfigError
from dialtone_gateway.params import GatewayParams, TailscaleParams, TunnelParams
from dialtone_gateway.signalling import NECK_LINE
from dialtone_gateway.tunnel import Tunnel


class Peer:
    """A neck client."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.client.on("*", self._hear)

    async def _hear(self, event: str, body: Any = None) -> None:
        self.heard.put_nowait((event, body))

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.heard.get(), 5)


@pytest.fixture
async def peers(lab: Any) -> AsyncIterator[Any]:
    made: list[Peer] = []

    async def join(person: Any, **options: Any) -> Peer:
        peer = Peer()
        made.append(peer)
        await peer.client.connect(
            person.gateway.url, auth={"token": person.token}, wait_timeout=5, **options
        )
        return peer

    yield join
    for peer in made:
        await peer.client.disconnect()


async def test_peers_meet_talk_and_part(lab: Any, peers: Any) -> None:
    gateway = await lab.gateway()
    one = await peers(await lab.person(gateway, "otto"))
    assert await one.next() == ("existing-peers", [])
    two = await peers(await lab.person(gateway, "vera"), transports=["websocket"])
    ((card),) = (await two.next())[1]
    assert (card["uuid"], card["roles"]) == ("otto", ["operator"])
    event, new = await one.next()
    assert (event, new["uuid"], new["roles"]) == ("new-peer", "vera", ["viewer"])
    await two.client.emit("peer-message", {"target": card["id"], "message": {"sdp": 1}})
    assert await one.next() == ("peer-message", {"peerId": new["id"], "message": {"sdp": 1}})
    await one.client.emit("broadcast-message", {"message": "hello"})
    assert await two.next() == (
        "broadcast-message", {"peerId": card["id"], "message": "hello"},
    )  # fmt: skip
    await two.client.disconnect()
    event, gone = await one.next()
    assert (event, gone["id"]) == ("peer-disconnect", new["id"])


async def test_neck_lines_of_operators_reach_the_robot_in_their_name(
    lab: Any, peers: Any, bus: Any, eventually: Any
) -> None:
    asked: list[tuple[str, str, str]] = []

    async def answer(request: Any) -> None:
        body = json.loads(request.data)
        verb = request.subject.rpartition(".")[2]
        asked.append((verb, body["operator"], body.get("role", "")))
        await request.respond(
            json.dumps({"ok": free[0], "error": "eve/1 holds the lease"}).encode()
        )

    free = [True]
    gateway = await lab.gateway()
    otto, vera = await lab.person(gateway, "otto"), await lab.person(gateway, "vera")
    heard = await bus.subscribe("dt.rover.cmd.>")
    await bus.subscribe("dt.rover.srv.teleop.lease.*", cb=answer)
    await bus.flush()
    one, two = await peers(otto), await peers(vera)
    await one.next()
    await one.next()
    await two.next()
    await one.client.emit("neck_command", {"command": "X50,Y-20"})
    message = await heard.next_msg(5)
    name = f"operator=otto%2F{otto.session}"
    assert json.loads(message.data) == {"data": f"X50,Y-20?{name}"}
    assert message.headers["Dt-Operator"] == f"otto/{otto.session}"
    assert message.headers["Dt-Type"] == "std_msgs/msg/String"
    assert await one.next() == ("neck_ack", {"command": "X50,Y-20"})
    await one.client.emit("broadcast-message", {"message": "HOME"})
    assert json.loads((await heard.next_msg(5)).data) == {"data": f"HOME?{name}"}
    assert asked == [("acquire", f"otto/{otto.session}", "operator")]
    await two.next()
    await two.client.emit("neck_command", {"command": "HOME"})
    event, body = await two.next()
    assert (event, body["error"]) == ("neck_error", "needs the role operator")
    for bad in ("", "rm -rf", "X1\nHOME", None, {"a": 1}, "1:" + "5" * 400):
        await one.client.emit("neck_command", {"command": bad})
        assert (await one.next())[0] == "neck_error"
    await one.client.disconnect()
    await eventually(lambda: asked[-1][0] == "release")
    free[0] = False
    again = await peers(otto)
    await again.next()
    await again.client.emit("neck_command", {"command": "X1"})
    assert await again.next() == (
        "neck_error", {"command": "X1", "error": "eve/1 holds the lease"},
    )  # fmt: skip


@pytest.mark.parametrize("token", ["", "forged", None, 5])
async def test_a_peer_without_a_token_is_refused(lab: Any, token: Any) -> None:
    gateway = await lab.gateway()
    peer = Peer()
    with pytest.raises(socketio.exceptions.ConnectionError):
        await peer.client.connect(gateway.url, auth={"token": token}, wait_timeout=2)
    await peer.client.disconnect()


async def test_a_logout_parts_a_peer(lab: Any, peers: Any, eventually: Any) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    peer = await peers(otto)
    await otto.post("/logout")
    await eventually(lambda: not peer.client.connected)


def test_neck_grammar_takes_commands_and_no_prose() -> None:
    for line in ("HOME", "HOME_SOFT", "1:55,2:60", "X50,Y-20,H5", "Q:1,0,0,0,H10,S1,A1", "STATUS"):
        assert NECK_LINE.fullmatch(line), line
    for line in ("hello", "HOME now", "Z", "", "7:1", "S tay"):
        assert not NECK_LINE.fullmatch(line), line


@pytest.fixture
async def tailscaled(tmp_path: Path) -> AsyncIterator[Any]:
    """A LocalAPI on a UNIX socket that knows one address."""
    asked: list[str] = []

    async def whois(request: web.Request) -> web.Response:
        asked.append(request.query["addr"])
        if request.host != "local-tailscaled.sock" or not asked[-1].startswith("100.64.0.7:"):
            return web.Response(status=404, text="no match for IP:port")
        return web.json_response({"UserProfile": {"LoginName": "Ada@Example.com"}})

    app = web.Application()
    app.router.add_get("/localapi/v0/whois", whois)
    runner = web.AppRunner(app)
    await runner.setup()
    path = tmp_path / "tailscaled.sock"
    await web.UnixSite(runner, str(path)).start()
    yield str(path), asked
    await runner.cleanup()


SERVE = {"Tailscale-User-Login": "ada@example.com", "X-Forwarded-For": "100.64.0.7"}


async def test_tailscale_identity_is_taken_when_tailscaled_confirms_it(
    lab: Any, tailscaled: Any
) -> None:
    path, asked = tailscaled
    params = GatewayParams(
        tailscale=TailscaleParams(True, path, ["ada@example.com=operator"]),
        allowed_hosts=["robot.tail.ts.net"],
    )
    gateway = await lab.gateway(params)
    ada = await lab.person(gateway)
    headers = {**SERVE, "Host": "robot.tail.ts.net"}
    status, who = await ada.get("/api/v1/session", headers=headers)
    assert (status, who["user"], who["role"]) == (200, "ada@example.com", "operator")
    for _ in range(5):
        await ada.get("/api/v1/session", headers=headers)
    assert asked == ["100.64.0.7:1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Forwarded-For": "100.64.0.8"},
        {"X-Forwarded-For": ""},
        {"X-Forwarded-For": "100.64.0.7, 100.64.0.8"},
        {"X-Forwarded-For": "unix"},
        {"Tailscale-User-Login": "eve@example.com"},
        {"Tailscale-User-Login": ""},
    ],
)
async def test_forged_tailscale_headers_are_nobody(
    lab: Any, tailscaled: Any, changed: dict[str, str]
) -> None:
    roles = ["ada@example.com=operator", "eve@example.com=admin"]
    params = GatewayParams(tailscale=TailscaleParams(True, tailscaled[0], roles))
    gateway = await lab.gateway(params)
    eve = await lab.person(gateway)
    assert (await eve.get("/api/v1/session", headers={**SERVE, **changed}))[0] == 401


async def test_tailscale_headers_mean_nothing_where_it_is_off_or_away(
    lab: Any, tmp_path: Path
) -> None:
    away = TailscaleParams(True, str(tmp_path / "none.sock"), ["*=admin"])
    for params in (GatewayParams(), GatewayParams(tailscale=away)):
        gateway = await lab.gateway(params)
        eve = await lab.person(gateway)
        assert (await eve.get("/api/v1/session", headers=SERVE))[0] == 401


async def test_a_tailscale_role_that_is_none_stops_the_start(lab: Any) -> None:
    with pytest.raises(ConfigError, match=r"tailscale\.roles"):
        await lab.gateway(GatewayParams(tailscale=TailscaleParams(True, "x", ["ada=king"])))


TUNNEL = """
import sys, time
print("starting", file=sys.stderr)
print("your url is: " + sys.argv[1], flush=True)
time.sleep(60 if sys.argv[2] == "stay" else 0)
"""


async def test_a_tunnels_name_is_learnt_checked_and_allowed(lab: Any, eventually: Any) -> None:
    command = [sys.executable, "-c", TUNNEL, "https://robot.tunnel.example/", "stay"]
    gateway = await lab.gateway(GatewayParams(tunnel=TunnelParams(command)))
    person = await lab.person(gateway)
    host = {"Host": "robot.tunnel.example"}

    async def known() -> bool:
        return bool((await person.get("/healthz", headers=host))[0] == 200)

    await eventually(known, 10.0)
    await gateway.aclose()
    assert gateway.origins.public_host == ""


async def test_a_tunnel_is_restarted_when_it_dies_and_when_nobody_answers(
    eventually: Any,
) -> None:
    told: list[str] = []
    dying = [sys.executable, "-c", TUNNEL, "https://a.example", "die"]
    tunnel = Tunnel(TunnelParams(dying), told.append)
    tunnel.open()
    await eventually(lambda: tunnel.starts >= 2, 10.0)
    await tunnel.aclose()
    assert told[:2] == ["a.example", ""]
    deaf = [sys.executable, "-c", TUNNEL, "http://127.0.0.1:9", "stay"]
    tunnel = Tunnel(TunnelParams(deaf, "http://\\S+", 0.05, 2), told.append)
    tunnel.open()
    await eventually(lambda: tunnel.starts >= 2, 10.0)
    await tunnel.aclose()


@pytest.mark.parametrize(("user", "may_publish"), [("vera", False), ("otto", True)])
async def test_foxglove_shows_viewers_and_obeys_operators(
    lab: Any, user: str, may_publish: bool, eventually: Any
) -> None:
    foxglove = pytest.importorskip("foxglove")
    from foxglove.websocket import Capability, ServerListener

    heard: list[bytes] = []

    class Listener(ServerListener):  # type: ignore[misc]
        def on_message_data(self, client: Any, client_channel_id: int, data: bytes) -> None:
            heard.append(data)

    server = foxglove.start_server(
        port=0,
        capabilities=[Capability.ClientPublish],
        server_listener=Listener(),
        supported_encodings=["json"],
        context=foxglove.Context(),
    )
    try:
        url = f"ws://127.0.0.1:{server.port}"
        gateway = await lab.gateway(GatewayParams(foxglove_url=url))
        person = await lab.person(gateway, user)
        async with person.http.ws_connect(
            person.url("/foxglove"), protocols=["foxglove.sdk.v1"]
        ) as ws:
            assert ws.protocol == "foxglove.sdk.v1"
            info = json.loads((await ws.receive(5)).data)
            assert info["op"] == "serverInfo"
            channel = {"id": 1, "topic": "/cmd_vel", "encoding": "json", "schemaName": "x"}
            await ws.send_json({"op": "advertise", "channels": [channel]})
            await ws.send_bytes(b"\x01\x01\x00\x00\x00{}")
            await ws.send_json({"op": "unsubscribe", "subscriptionIds": []})
            if may_publish:
                await eventually(lambda: heard == [b"{}"])
            else:
                otto = await lab.person(gateway, "otto")
                async with otto.http.ws_connect(
                    otto.url("/foxglove"), protocols=["foxglove.sdk.v1"]
                ) as other:
                    await other.send_json({"op": "advertise", "channels": [channel]})
                    await other.send_bytes(b"\x01\x01\x00\x00\x00{2}")
                    await eventually(lambda: heard)
                assert heard == [b"{2}"], "what came first was the viewer's"
    finally:
        server.stop()


async def test_a_ticket_opens_foxglove_from_any_site_and_ends_with_its_login(lab: Any) -> None:
    async def hello(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=["foxglove.sdk.v1"])
        await ws.prepare(request)
        await ws.send_str("hello")
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    lab.clock = FakeClock()
    gateway = await lab.gateway(
        GatewayParams(foxglove_url=f"ws://127.0.0.1:{runner.addresses[0][1]}")
    )
    vera, app_elsewhere = await lab.person(gateway, "vera"), await lab.person(gateway)
    elsewhere = {"protocols": ["foxglove.sdk.v1"], "origin": "https://app.foxglove.dev"}

    async def ticket() -> str:
        status, told = await vera.post("/api/v1/foxglove")
        assert status == 200
        return gateway.url + str(told["path"])

    async def refused(url: str) -> bool:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await app_elsewhere.http.ws_connect(url, **elsewhere)
        return caught.value.status == 401

    first = await ticket()
    for _ in range(2):
        async with app_elsewhere.http.ws_connect(first, **elsewhere) as ws:
            assert (await ws.receive(5)).data == "hello"
            await ws.send_json({"op": "advertise"})
            await ws.send_json({"op": "subscribe"})
            assert json.loads((await ws.receive(5)).data) == {"op": "subscribe"}, "as a viewer"
    assert await refused(gateway.url + "/foxglove/made-up")
    lab.clock.advance(601)
    assert await refused(first)
    second = await ticket()
    ws = await app_elsewhere.http.ws_connect(second, **elsewhere)
    await ws.receive(5)
    await vera.post("/logout")
    assert (await ws.receive(5)).type is not aiohttp.WSMsgType.TEXT
    assert await refused(second)
    await runner.cleanup()


async def test_a_foxglove_server_that_is_away_is_503(lab: Any) -> None:
    for params in (GatewayParams(), GatewayParams(foxglove_url="ws://127.0.0.1:9")):
        gateway = await lab.gateway(params)
        vera = await lab.person(gateway, "vera")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await vera.http.ws_connect(vera.url("/foxglove"))
        assert caught.value.status == 503


async def test_webrtc_shows_the_camera_as_h264(lab: Any, camera: Any, eventually: Any) -> None:
    import cv2
    import numpy as np
    from aiortc import RTCPeerConnection, RTCSessionDescription

    gateway = await lab.gateway(webrtc_peers=1)
    vera = await lab.person(gateway, "vera")
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[:, :, 2] = 255
    camera.roll(cv2.imencode(".jpg", pixels)[1].tobytes(), 0.03)
    client = RTCPeerConnection()
    try:
        client.addTransceiver("video", direction="recvonly")
        tracks: list[Any] = []
        client.on("track", tracks.append)
        await client.setLocalDescription(await client.createOffer())
        offer = {"camera": "front", "sdp": client.localDescription.sdp, "type": "offer"}
        status, answer = await vera.post("/api/v1/webrtc", json=offer)
        assert status == 200
        assert "H264" in answer["sdp"]
        assert "VP8" not in answer["sdp"]
        assert (await vera.post("/api/v1/webrtc", json=offer))[0] == 503
        await client.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        frame = await asyncio.wait_for(tracks[0].recv(), 15)
        assert (frame.width, frame.height) == (320, 240)
        red = frame.to_ndarray(format="rgb24")[120, 160]
        assert red[0] > 200
        assert red[1] < 60
    finally:
        await client.close()
    await eventually(lambda: gateway.hub.viewers == 0, 20.0)


@pytest.mark.parametrize(
    "offer",
    [
        {},
        {"camera": "front", "sdp": "v=0", "type": "answer"},
        {"camera": "../x", "sdp": "v=0", "type": "offer"},
        {"camera": "front", "sdp": "nonsense", "type": "offer"},
        {"camera": "front", "sdp": "v=0\r\nm=video x y z\r\n", "type": "offer"},
        {"camera": "front", "sdp": ["x"], "type": "offer"},
    ],
)
async def test_a_webrtc_offer_that_is_none_is_400(lab: Any, offer: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    assert (await vera.post("/api/v1/webrtc", json=offer))[0] in (400, 422)
