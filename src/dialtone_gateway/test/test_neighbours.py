"""Tailscale, tunnels and WebRTC: with the real other side."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dialtone_core.errors import ConfigError
from dialtone_gateway.params import GatewayParams, TailscaleParams, TunnelParams
from dialtone_gateway.tunnel import Tunnel


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
