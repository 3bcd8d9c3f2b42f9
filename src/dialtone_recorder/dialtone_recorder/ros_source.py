"""The recorder's ears: finds topics, subscribes to their bytes, hands them to a session.

Lives in the executor's thread. Outside of a recording it holds no subscription and no timer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node

from dialtone_recorder.gate import Gate
from dialtone_recorder.preroll import Preroll
from dialtone_recorder.ros_topic import Recorded, describe
from dialtone_recorder.session import Session
from dialtone_recorder.source import Sink
from dialtone_recorder.topics import Topic, TopicFilter
from dialtone_ros.types import message_class

R = TypeVar("R")

#: How often what DDS holds is taken: so much more than the writer's wake-up a kill may cost.
POLL_S = 0.02
#: Each so many looks at the graph, a topic's publishers are asked for their QoS again.
FULL_LOOK = 8


class RosSource:
    """Subscribes to every wanted topic while open. Implements ``source.Source``."""

    def __init__(
        self, node: Node, wanted: TopicFilter, period_s: float, depth: int, gate: Gate
    ) -> None:
        self._node = node
        self._wanted = wanted
        self._depth = depth
        self._period_s = period_s
        self._gate = gate
        self._sink: Sink | None = None
        self._only: frozenset[str] | None = None
        self._timers: list[Any] = []
        self._passes = 0
        self._recorded: dict[tuple[str, str], Recorded] = {}

    async def open(self, sink: Sink, only: frozenset[str] | None = None) -> None:
        await self._in_executor(lambda: self._open(sink, only))

    async def hand_over(self, sink: Sink) -> None:
        await self._in_executor(lambda: self._hand_over(sink))

    async def close(self) -> None:
        await self._in_executor(self._close)

    async def _in_executor(self, work: Callable[[], R]) -> R:
        """Run ``work`` in the executor's thread: rclpy's entities belong to it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()

        def run() -> None:
            try:
                result = work()
            except Exception as error:
                loop.call_soon_threadsafe(_fail, done, error)
            else:
                loop.call_soon_threadsafe(_succeed, done, result)

        self._node.executor.create_task(run)
        return await done

    def _open(self, sink: Sink, only: frozenset[str] | None) -> None:
        self._close()
        self._sink = sink
        self._only = only
        self._gate.restart(time.time_ns())
        self._discover()
        self._timers = [
            self._node.create_timer(self._period_s, self._discover),
            self._node.create_timer(POLL_S, self._drain),
        ]

    def _hand_over(self, sink: Sink) -> None:
        """In one step of the executor: no message falls between the two."""
        self._drain()
        if isinstance(self._sink, Preroll) and isinstance(sink, Session):
            self._sink.pour(sink, time.time_ns())
        self._sink = sink
        for each in self._recorded.values():
            each.sink = sink

    def _drain(self) -> None:
        for each in self._recorded.values():
            each.drain()

    def _close(self) -> None:
        self._drain()
        for each in self._recorded.values():
            each.close()
        self._recorded.clear()
        self._sink = None
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._timers.clear()

    def _discover(self) -> None:
        sink = self._sink
        if sink is None:
            return
        self._passes += 1
        for name, types in self._node.get_topic_names_and_types():
            if self._only is not None and name not in self._only:
                continue
            for type_name in types:
                if self._wanted.wants(name, type_name) or self._only is not None:
                    self._consider(sink, name, type_name, len(types))

    def _consider(self, sink: Sink, name: str, type_name: str, types: int) -> None:
        key = (name, type_name)
        known = self._recorded.get(key)
        count = self._node.count_publishers(name)
        # Asking who publishes costs: a restart with another QoS is found by looking now and then.
        if known and known.publishers == count and (self._passes + known.turn) % FULL_LOOK:
            return
        infos = [
            each
            for each in self._node.get_publishers_info_by_topic(name)
            if each.topic_type == type_name
        ]
        if not infos and (known or not self._wanted.always(name)):
            return
        topic = describe(name, type_name, infos)
        if known is None and types > 1:
            self._drop_other_types(name, type_name)
        self._record(sink, topic, count)

    def _drop_other_types(self, name: str, type_name: str) -> None:
        """A publisher came back with another type: DDS allows one type a topic and participant."""
        for key in [key for key in self._recorded if key[0] == name and key[1] != type_name]:
            alive = self._node.get_publishers_info_by_topic(name)
            if not any(each.topic_type == key[1] for each in alive):
                gone = self._recorded.pop(key)
                gone.drain()
                gone.close()

    def _record(self, sink: Sink, topic: Topic, count: int) -> None:
        try:
            cls = message_class(topic.type)
        except LookupError as error:
            sink.unrecorded[topic.name] = str(error)
            return
        sink.add_topic(topic)
        self._gate.told(topic.name, topic.definition)
        made = self._recorded.get(topic.key)
        if made is None:
            see = self._gate.see if topic.name in self._gate.topics else None
            made = Recorded(self._node, cls, topic, self._depth, sink, see, len(self._recorded))
        try:
            made.follow(topic)
        except Exception as error:
            # rclpy raises RuntimeError or its own kinds; the other topics go on.
            sink.unrecorded[topic.name] = str(error)
            self._node.get_logger().error(f"cannot record {topic.name}: {error}")
            return
        made.publishers = count
        self._recorded[topic.key] = made
        sink.unrecorded.pop(topic.name, None)


def _succeed(future: asyncio.Future[R], result: R) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
