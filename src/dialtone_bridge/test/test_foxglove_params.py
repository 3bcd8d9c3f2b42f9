"""Parameters of the robot's nodes, asked for by clients who name what they like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import nats
import pytest
from bridge_rig import Peer, Rig, until
from foxglove_rig import reply
from rclpy.node import Node
from std_srvs.srv import Trigger

from dialtone_bridge import ros_services
from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.ros_services import RosServices
from dialtone_core.errors import DialtoneError

OPEN = {"settable_parameters": "['.*']"}
ODD = ["/my-node.x", "/peer", "/peer.", ".x", "", "/" + 300 * "a" + ".x", "/pe er.x", "/ü.x"]
GHOSTS = [f"/ghost{number}.x" for number in range(300)]


async def test_names_that_no_node_has_cost_nothing_and_end_nothing(rig: Rig, peer: Peer) -> None:
    peer.node.declare_parameter("gain", 1.5)
    bridge = rig.start_bridge(nats_url="''", **OPEN)
    async with open_client((await rig.file()).foxglove_url) as client:
        await until(lambda: peer.node.count_services("/bridge/list_parameters") > 0)
        found: list[Any] = []
        while not found:  # until the bridge has seen the peer
            before = len(client.texts)
            names = [*ODD, *GHOSTS, "/peer.gain"]
            await client.send({"op": "getParameters", "parameterNames": names, "id": "q"})
            found = (await reply(client, "parameterValues", before - 1))["parameters"]
        assert found == [{"name": "/peer.gain", "value": 1.5, "type": "float64"}]
        for name in ("/my-node.x", "/ghost1.x", "/peer"):
            wanted = [{"name": name, "value": 1}]
            await client.send({"op": "setParameters", "parameters": wanted, "id": "s"})
            status = await client.wait_status(f"{name.split('.')[0]} has no parameters")
            assert status["level"] == 2
            client.statuses.clear()
    clients = peer.node.get_client_names_and_types_by_node("bridge", "/")
    assert {name.split("/")[1] for name, _ in clients} <= {"peer"}
    assert bridge.process.poll() is None
    assert "does not answer" not in bridge.text()


async def test_odd_names_over_nats_end_nothing_either(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    bridge = rig.start_bridge(**OPEN)
    await rig.file()
    peer.node.declare_parameter("gain", 1.5)

    async def ask(verb: str, **body: Any) -> dict[str, Any]:
        subject = f"dt.{rig.robot}.srv.params.{verb}"
        found = await client.request(subject, json.dumps(body).encode(), timeout=10)
        answer: dict[str, Any] = json.loads(found.data)
        return answer

    while not (answer := await ask("get", names=[*ODD, *GHOSTS, "/peer.gain"]))["parameters"]:
        pass
    assert [each["name"] for each in answer["parameters"]] == ["/peer.gain"]
    answer = await ask("set", parameters=[{"name": "/my-node.x", "value": 1}])
    assert "/my-node has no parameters" in answer["error"]
    assert bridge.process.poll() is None


@pytest.fixture
def services(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> RosServices:
    """Those of the peer itself, which looks for orphans often."""
    monkeypatch.setattr(ros_services, "_SWEEP_EVERY_S", 0.05)

    def post(work: Callable[[], None]) -> None:
        executor = peer.node.executor
        assert executor is not None
        executor.create_task(work)

    return RosServices(peer.node, [".*"], post)


async def test_a_name_that_ros_refuses_fails_its_call_and_no_callback(
    services: RosServices, peer: Peer
) -> None:
    for name in ("/my-node/x", "/" + 300 * "a", "/a//b"):
        pending = services.call_ros(name, "std_srvs/srv/Trigger", Trigger.Request())
        with pytest.raises(DialtoneError, match="nvalid"):
            await asyncio.wait_for(asyncio.wrap_future(pending), 10)
    heard: list[bool] = []
    peer.node.create_timer(0.01, lambda: heard.append(True))
    await until(lambda: heard)  # the executor spins on


async def test_a_client_of_a_service_that_left_is_closed(
    services: RosServices, peer: Peer
) -> None:
    other = Node("other", context=peer.context)
    assert peer.node.executor is not None
    peer.node.executor.add_node(other)
    other.create_service(Trigger, "/here", lambda _, response: response)
    pending = services.call_ros("/here", "std_srvs/srv/Trigger", Trigger.Request())
    await asyncio.wait_for(asyncio.wrap_future(pending), 10)
    assert "/here" in services._clients
    peer.node.executor.remove_node(other)
    other.destroy_node()
    await until(lambda: not services._clients)
    await until(lambda: services._sweeper is None)
