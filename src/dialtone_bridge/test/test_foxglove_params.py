"""Parameters of the robot's nodes, asked for by clients who name what they like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import nats
import pytest
from bridge_rig import Peer, Rig, until
from foxglove_rig import reply, serving
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from dialtone_bridge import ros_services
from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.foxglove.extras import Extras
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
            status = await client.wait_status(f"{name.split('.')[0]} is no node")
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
    assert "/my-node is no node" in answer["error"]
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


async def test_values_are_set_unset_and_emptied_as_the_protocol_has_them(
    rig: Rig, peer: Peer
) -> None:
    node = peer.node
    free = ParameterDescriptor(dynamic_typing=True)
    node.declare_parameter("free", 1.0, free)
    node.declare_parameter("fixed", "x")
    for name, value in (("texts", ["a"]), ("numbers", [1.5]), ("whole", [1])):
        node.declare_parameter(name, value)
    stuck = Node("stuck", context=peer.context)
    bridge = rig.start_bridge(nats_url="''", **OPEN)
    async with open_client((await rig.file()).foxglove_url) as client:
        await until(lambda: node.count_services("/bridge/list_parameters") > 0)

        async def put(name: str, **about: Any) -> list[dict[str, Any]]:
            before = len([each for each in client.texts if each["op"] == "parameterValues"])
            wanted = [{"name": f"/peer.{name}", **about}]
            await client.send({"op": "setParameters", "parameters": wanted, "id": "s"})
            found = await reply(client, "parameterValues", before)
            values: list[dict[str, Any]] = found["parameters"]
            return values

        async def refused(words: str, name: str, **about: Any) -> None:
            wanted = [{"name": name, **about}]
            await client.send({"op": "setParameters", "parameters": wanted})
            await client.wait_status(words)
            client.statuses.clear()

        asked = 0
        while not any(each.get("parameters") for each in client.texts):
            await client.send({"op": "getParameters", "parameterNames": ["/peer.fixed"]})
            await reply(client, "parameterValues", asked)
            asked += 1
        assert await put("fixed", value="y") == [{"name": "/peer.fixed", "value": "y"}]
        assert await put("texts", value=[]) == [{"name": "/peer.texts", "value": []}]
        assert await put("numbers", value=[]) == [
            {"name": "/peer.numbers", "value": [], "type": "float64_array"}
        ]
        assert await put("whole", value=[]) == [{"name": "/peer.whole", "value": []}]
        await refused("unknown_type", "/peer.fixed", value=[])
        assert node.get_parameter("texts").value == []
        assert await put("free", type="float64") == [{"name": "/peer.free"}]
        assert not node.has_parameter("free")
        await refused("parameter_refused: /peer: ", "/peer.fixed")
        for value, kind in (
            ("abc", "float64"), ([None], "float64_array"), (7, "byte_array"), ("?", "byte_array"),
            (True, "float64"), (2**63, ""), ("a\0b", ""), ({"a": 1}, ""), (["a", 1], ""),
        ):  # fmt: skip
            await refused("a parameter cannot be" if kind == "" and value not in (2**63, "a\0b")
                          else "bad_value: /peer.fixed cannot be",
                          "/peer.fixed", value=value, type=kind)  # fmt: skip
        await until(lambda: node.count_services("/stuck/list_parameters") > 0)
        await refused("/stuck does not answer", "/stuck.use_sim_time", value=True)
        assert node.get_parameter("fixed").value == "y"
    stuck.destroy_node()
    assert bridge.text().count("/stuck does not answer for its parameters; asked") == 1


async def test_who_follows_all_parameters_hears_of_each_and_who_unfollows_of_none(
    rig: Rig, peer: Peer
) -> None:
    free = ParameterDescriptor(dynamic_typing=True)
    peer.node.declare_parameter("gain", 1.5, free)
    rig.start_bridge(nats_url="''", **OPEN)
    async with open_client((await rig.file()).foxglove_url) as client:

        async def follow(op: str, *names: str) -> None:
            await client.send({"op": op, "parameterNames": list(names)})
            await client.send({"op": "getParameters", "parameterNames": ["/x.y"], "id": "sync"})
            await until(lambda: any(each.get("id") == "sync" for each in client.texts))
            client.texts.clear()

        def told() -> list[Any]:
            updates = [each for each in client.texts if each["op"] == "parameterValues"]
            return [each["parameters"] for each in updates if "id" not in each]

        def change(value: float) -> None:
            peer.node.set_parameters([Parameter("gain", value=value)])

        await follow("subscribeParameterUpdates")
        value = 2.0
        while not told():  # DDS has matched the event's two ends
            value += 1
            change(value)
            await asyncio.sleep(0.1)
        assert told()[0][0]["name"] == "/peer.gain"
        client.texts.clear()
        peer.node.set_parameters([Parameter("gain", Parameter.Type.NOT_SET)])
        await until(lambda: [{"name": "/peer.gain"}] in told())
        peer.node.declare_parameter("gain", 1.5, free)
        await follow("unsubscribeParameterUpdates")
        await follow("subscribeParameterUpdates", "/peer.gain", "/peer.other")
        change(3.25)
        await until(lambda: told() and told()[-1][0]["value"] == 3.25)
        await follow("unsubscribeParameterUpdates")
        change(4.25)
        await follow("subscribeParameterUpdates", "/peer.other")
        assert told() == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"op": "getParameters"}, "bad_list"),
        ({"op": "getParameters", "parameterNames": [1]}, "bad_parameter"),
        ({"op": "setParameters", "parameters": {}}, "bad_list"),
        ({"op": "setParameters", "parameters": [{"value": 1}]}, "bad_parameter"),
        ({"op": "setParameters", "parameters": ["x"]}, "bad_parameter"),
        ({"op": "subscribeParameterUpdates", "parameterNames": "x"}, "bad_list"),
        ({"op": "subscribeParameterUpdates", "parameterNames": [[]]}, "bad_parameter"),
        ({"op": "getParameters", "parameterNames": ["boom"]}, "getParameters failed"),
    ],
)
async def test_what_is_no_request_for_parameters_is_refused_in_words(
    message: dict[str, Any], words: str
) -> None:
    class Knobs:
        async def get(self, names: Any) -> Any:
            raise KeyError("boom")

        async def set(self, parameters: Any) -> Any:
            raise AssertionError

    async with serving(Extras(Knobs())) as line, open_client(line.url) as client:
        await client.send(message)
        status = await client.wait_status(words)
        assert "Error" not in status["message"]


async def test_what_a_client_follows_is_bounded_and_told_from_any_thread() -> None:
    class Knobs:
        async def get(self, names: Any) -> Any:
            return []

        async def set(self, parameters: Any) -> Any:
            return []

    async with serving(Extras(Knobs())) as line, open_client(line.url) as client:
        names = [f"/a.{number}" for number in range(10_000)]
        await client.send({"op": "subscribeParameterUpdates", "parameterNames": names})
        await client.send({"op": "subscribeParameterUpdates", "parameterNames": ["/a.more"]})
        await client.wait_status("too_many")
        (session,) = line.transport._server.sessions
        assert len(session.parameters) == 10_000
        values = [{"name": "/a.1", "value": 1}, {"name": "/a.more", "value": 2}]
        await asyncio.to_thread(line.transport.tell_parameters, values)
        assert (await reply(client, "parameterValues"))["parameters"] == values[:1]
