"""Who publishes, subscribes and serves what, for the connection graph of Foxglove."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future

from rclpy.node import Node

from dialtone_bridge.foxglove.extras import Graph

Post = Callable[[Callable[[], None]], None]


def read_graph(node: Node) -> Graph:
    """The graph as ``node`` sees it; in the executor's thread."""
    published: dict[str, list[str]] = {}
    subscribed: dict[str, list[str]] = {}
    for topic, _ in node.get_topic_names_and_types():
        for into, infos in (
            (published, node.get_publishers_info_by_topic(topic)),
            (subscribed, node.get_subscriptions_info_by_topic(topic)),
        ):
            names = {_full(each.node_namespace, each.node_name) for each in infos}
            if names:
                into[topic] = sorted(names)
    services: dict[str, list[str]] = defaultdict(list)
    for name, space in sorted(node.get_node_names_and_namespaces()):
        try:
            found = node.get_service_names_and_types_by_node(name, space)
        except RuntimeError:
            continue  # it left between the two calls
        for service, _ in found:
            services[service].append(_full(space, name))
    return Graph(published, subscribed, services)


def asker(node: Node, post: Post) -> Callable[[], asyncio.Future[Graph]]:
    """``read_graph`` for the loop: asked there, read in the executor's thread."""

    def ask() -> asyncio.Future[Graph]:
        answer: Future[Graph] = Future()

        def read() -> None:
            if answer.set_running_or_notify_cancel():
                answer.set_result(read_graph(node))

        post(read)
        return asyncio.wrap_future(answer)

    return ask


def _full(space: str, name: str) -> str:
    return f"{space.rstrip('/')}/{name}"
