"""What a bridge process is asked: its routes, ROS services and parameters."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import nats
import nats.errors
import pytest
import typer
from bridge_rig import Peer, Rig, until
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import SetBool
from typer.testing import CliRunner

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.verbs.routes import routes
from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError


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
    assert "no robot nobody" in str(shown.exception)


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(routes)
    return app


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
