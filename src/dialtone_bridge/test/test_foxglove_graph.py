"""The connection graph: what changed, what is nobody's business, and what it costs to look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bridge_rig import Peer, Rig, until
from foxglove_rig import reply, serving
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dialtone_bridge import ros_graph
from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.foxglove.extras import Extras, Graph, graph_update
from dialtone_bridge.ros_graph import RosGraph


def test_a_topic_that_lost_its_last_subscriber_is_told_while_it_is_there() -> None:
    both = Graph({"/t": ["/p"]}, {"/t": ["/rviz"]}, {"/s": ["/p"]})
    update = graph_update(both, Graph({"/t": ["/p"]}))
    assert update is not None
    assert update["subscribedTopics"] == [{"name": "/t", "subscriberIds": []}]
    assert update["publishedTopics"] == update["removedTopics"] == []
    assert update["removedServices"] == ["/s"]
    update = graph_update(both, Graph({}, {"/t": ["/rviz"]}, {"/s": ["/p"]}))
    assert update is not None
    assert update["publishedTopics"] == [{"name": "/t", "publisherIds": []}]
    update = graph_update(both, Graph())
    assert update is not None
    assert update["removedTopics"] == ["/t"]
    assert update["publishedTopics"] == update["subscribedTopics"] == []


async def test_a_graph_that_cannot_be_read_is_tried_again() -> None:
    looks = 0

    async def graph() -> Graph:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise RuntimeError("rcl: no")
        return Graph({"/odom": ["/teleop"]})

    async with serving(Extras(graph=graph)) as line, open_client(line.url) as client:
        await client.send({"op": "subscribeConnectionGraph"})
        update = await reply(client, "connectionGraphUpdate")
        assert update["publishedTopics"] == [{"name": "/odom", "publisherIds": ["/teleop"]}]
        assert "rcl: no" in line.log.lines


@pytest.fixture
def other(peer: Peer) -> Iterator[Node]:
    made = Node("other", context=peer.context)
    yield made
    made.destroy_node()


def reader(peer: Peer) -> RosGraph:
    def post(work: Callable[[], None]) -> None:
        assert peer.node.executor is not None
        peer.node.executor.create_task(work)

    return RosGraph(
        peer.node, post, lambda topic: topic != "/hidden", lambda service: service == "/shown"
    )


async def test_the_graph_holds_what_clients_may_know_and_nothing_else(
    peer: Peer, other: Node
) -> None:
    other.create_publisher(String, "/hidden", 10)
    other.create_publisher(String, "/seen", 10)
    peer.node.create_subscription(String, "/seen", print, 10)
    for name in ("/shown", "/secret"):
        other.create_service(Trigger, name, lambda _, response: response)
    graph = reader(peer)
    while (known := await graph.read()).services != {"/shown": ["/other"]}:
        pass
    assert known.published["/seen"] == ("/other",)
    assert known.subscribed["/seen"] == ("/peer",)
    assert "/hidden" not in known.published


async def test_a_topic_is_asked_about_again_only_when_something_changed_there(
    peer: Peer, other: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = other.create_publisher(String, "/seen", 10)
    graph = reader(peer)
    while "/seen" not in (await graph.read()).published:
        pass
    asked: list[str] = []
    look = peer.node.get_publishers_info_by_topic

    def count(topic: str) -> Any:
        asked.append(topic)
        return look(topic)

    monkeypatch.setattr(peer.node, "get_publishers_info_by_topic", count)
    while True:
        before = await graph.read()
        asked.clear()
        if await graph.read() is before:  # the graph of a machine that just woke has settled
            break
    assert asked == []
    second = peer.node.create_publisher(String, "/seen", 10)
    while (await graph.read()).published["/seen"] != ("/other", "/peer"):
        pass
    assert set(asked) <= {"/seen", "/rosout", "/parameter_events"}
    other.destroy_publisher(first)
    peer.node.destroy_publisher(second)
    while "/seen" in (await graph.read()).published:
        pass
    monkeypatch.setattr(ros_graph, "_ALL_EVERY_S", 0.0)
    asked.clear()
    await graph.read()
    assert "/rosout" in asked


async def test_many_who_ask_at_once_have_it_read_once_and_in_slices(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ros_graph, "_SLICE_S", 0.0)  # a step at a time
    graph = reader(peer)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1

    peer.node.create_timer(0.001, turn)
    names = len(peer.node.get_topic_names_and_types())
    starts = 0
    start = graph._start

    def count(answer: Any) -> None:
        nonlocal starts
        starts += 1
        start(answer)

    monkeypatch.setattr(graph, "_start", count)
    asking = [asyncio.create_task(graph.read()) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    found = await asyncio.gather(*asking[1:])
    assert starts == 1
    assert all(each is found[0] for each in found)
    assert turns >= names  # others had their turn between any two topics


async def test_clients_see_no_hidden_topics_and_no_services_that_they_may_not_call(
    rig: Rig, peer: Peer
) -> None:
    peer.node.create_publisher(String, "chatter", 10)
    peer.node.create_publisher(String, "secret/plan", 10)
    peer.node.create_service(Trigger, "teleop/arm", lambda _, response: response)
    rig.start_bridge(nats_url="''", deny_topics="['secret/.*']")
    async with open_client((await rig.file()).foxglove_url) as client:
        await client.send({"op": "subscribeConnectionGraph"})
        await until(lambda: "/teleop/arm" in str(client.texts) and "/chatter" in str(client.texts))
        told = [each for each in client.texts if each["op"] == "connectionGraphUpdate"]
        topics = {topic["name"] for each in told for topic in each["publishedTopics"]}
        services = {each["name"] for update in told for each in update["advertisedServices"]}
        assert "/chatter" in topics
        assert not topics & {"/secret/plan", "/parameter_events"}
        assert services == {"/teleop/arm"}
