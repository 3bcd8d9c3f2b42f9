"""Who publishes, subscribes and serves what, for the connection graph of Foxglove."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.node import Node

from dialtone_bridge.foxglove.extras import Graph
from dialtone_ros.timers import steady_timer

Post = Callable[[Callable[[], None]], None]
#: The executor's thread brings samples too: it reads for so long, every so often.
_SLICE_S, _EVERY_S = 0.002, 0.01
#: Who is at a topic is asked again when their number changed, and after so long: one may have
#: taken another's place.
_ALL_EVERY_S = 10.0


@dataclass(frozen=True)
class _Ends:
    """A topic's publishers and subscribers: how many, and their nodes."""

    counts: tuple[int, int]
    published: tuple[str, ...]
    subscribed: tuple[str, ...]


class RosGraph:
    """Reads the graph as ``node`` sees it, of it what ``shows_topic`` and ``shows_service`` let
    clients know. ``post`` runs work in the executor's thread."""

    def __init__(
        self,
        node: Node,
        post: Post,
        shows_topic: Callable[[str], bool],
        shows_service: Callable[[str], bool],
    ) -> None:
        self._node = node
        self._post = post
        self._shows_topic = shows_topic
        self._shows_service = shows_service
        self._topics: dict[str, _Ends] = {}
        self._all_s = float("-inf")
        self._known = Graph()
        self._reading: asyncio.Future[Graph] | None = None

    async def read(self) -> Graph:
        """The graph now; the same object where nothing changed. On the loop."""
        if self._reading is None or self._reading.done():
            answer: Future[Graph] = Future()
            self._reading = asyncio.wrap_future(answer)
            self._post(partial(self._start, answer))
        return await asyncio.shield(self._reading)  # others may wait for it too

    def _start(self, answer: Future[Graph]) -> None:
        """In the executor's thread, like all that follows."""
        steps = self._steps()

        def slice_of_it() -> None:
            until_s = time.perf_counter() + _SLICE_S
            try:
                next(steps)
                while time.perf_counter() < until_s:
                    next(steps)
                return
            except StopIteration as end:
                result: Any = end.value
            except Exception as error:  # rclpy raises RCLError, which it does not export
                result = RuntimeError(f"the graph cannot be read: {error}")
            self._node.destroy_timer(timer)
            if answer.set_running_or_notify_cancel():
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

        timer = steady_timer(self._node, _EVERY_S, slice_of_it)

    def _steps(self) -> Generator[None, None, Graph]:
        now_s = time.monotonic()
        anew = now_s - self._all_s > _ALL_EVERY_S
        self._all_s = now_s if anew else self._all_s
        topics: dict[str, _Ends] = {}
        for topic, _ in self._node.get_topic_names_and_types():
            if self._shows_topic(topic):
                known = None if anew else self._topics.get(topic)
                topics[topic] = self._ends(topic, known)
            yield
        services: dict[str, list[str]] = defaultdict(list)
        for name, space in sorted(self._node.get_node_names_and_namespaces()):
            try:
                found = self._node.get_service_names_and_types_by_node(name, space)
            except RuntimeError:
                continue  # it left between the two calls
            for service, _ in found:
                if self._shows_service(service):
                    services[service].append(_full(space, name))
            yield
        self._topics = topics
        made = Graph(
            {topic: ends.published for topic, ends in topics.items() if ends.published},
            {topic: ends.subscribed for topic, ends in topics.items() if ends.subscribed},
            services,
        )
        if made != self._known:
            self._known = made
        return self._known

    def _ends(self, topic: str, known: _Ends | None) -> _Ends:
        node = self._node
        counts = (node.count_publishers(topic), node.count_subscribers(topic))
        if known is not None and known.counts == counts:
            return known
        return _Ends(
            counts,
            _nodes(node.get_publishers_info_by_topic(topic) if counts[0] else ()),
            _nodes(node.get_subscriptions_info_by_topic(topic) if counts[1] else ()),
        )


def _nodes(infos: Any) -> tuple[str, ...]:
    return tuple(sorted({_full(each.node_namespace, each.node_name) for each in infos}))


def _full(space: str, name: str) -> str:
    return f"{space.rstrip('/')}/{name}"
