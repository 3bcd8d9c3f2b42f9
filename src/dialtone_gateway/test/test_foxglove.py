"""Foxglove behind the login: a real server of its SDK, roles, tickets."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import foxglove
import pytest
from aiohttp import web
from foxglove.websocket import Capability, ServerListener

from dialtone_core.clock import FakeClock
from dialtone_gateway.params import GatewayParams


@pytest.mark.parametrize(("user", "may_publish"), [("vera", False), ("otto", True)])
async def test_foxglove_shows_viewers_and_obeys_operators(
    lab: Any, user: str, may_publish: bool, eventually: Any
) -> None:
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
