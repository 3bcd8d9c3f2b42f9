"""The recorder's ears: finds topics, subscribes to their bytes, hands them to a session.

Lives in the executor's thread. Outside of a recording it holds no subscription and no timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from dialtone_recorder.session import Session
from dialtone_recorder.topics import Topic, TopicFilter, qos_profile
from dialtone_ros.drain import DrainedSubscription
from dialtone_ros.types import message_class, message_definition

R = TypeVar("R")


class RosSource:
    """Subscribes to every wanted topic while open. Implements ``control.Source``."""

    def __init__(self, node: Node, wanted: TopicFilter, period_s: float, depth: int) -> None:
        self._node = node
        self._wanted = wanted
        self._depth = depth
        self._period_s = period_s
        self._session: Session | None = None
        self._timer: Any = None
        self._subscriptions: dict[tuple[str, str], DrainedSubscription] = {}
        self._publishers: dict[tuple[str, str], int] = {}

    async def open(self, session: Session) -> None:
        await self._in_executor(lambda: self._open(session))

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

    def _open(self, session: Session) -> None:
        self._session = session
        self._discover()
        self._timer = self._node.create_timer(self._period_s, self._discover)

    def _close(self) -> None:
        self._session = None
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
        self._publishers.clear()

    def _discover(self) -> None:
        session = self._session
        if session is None:
            return
        for name, types in self._node.get_topic_names_and_types():
            for type_name in types:
                if self._wanted.wants(name, type_name):
                    self._consider(session, name, type_name, len(types))

    def _consider(self, session: Session, name: str, type_name: str, types: int) -> None:
        key = (name, type_name)
        count = self._node.count_publishers(name)
        if key in self._subscriptions and count <= self._publishers[key]:
            return
        infos = [
            each
            for each in self._node.get_publishers_info_by_topic(name)
            if each.topic_type == type_name
        ]
        if not infos and not self._wanted.always(name):
            return
        topic = _describe(name, type_name, infos)
        if key in self._subscriptions:
            self._publishers[key] = count
            session.add_topic(topic)
            return
        if types > 1:
            self._drop_other_types(name, type_name)
        self._subscribe(session, topic, count)

    def _drop_other_types(self, name: str, type_name: str) -> None:
        """A publisher came back with another type: DDS allows one type a topic and participant."""
        for key in [key for key in self._subscriptions if key[0] == name and key[1] != type_name]:
            alive = self._node.get_publishers_info_by_topic(name)
            if not any(each.topic_type == key[1] for each in alive):
                self._subscriptions.pop(key).close()

    def _subscribe(self, session: Session, topic: Topic, count: int) -> None:
        try:
            cls = message_class(topic.type)
        except LookupError as error:
            session.unrecorded[topic.name] = str(error)
            return
        session.add_topic(topic)
        try:
            self._subscriptions[topic.key] = DrainedSubscription(
                self._node, topic.type, cls, topic.name, self._qos(topic), session.put
            )
        except Exception as error:
            # rclpy raises RuntimeError or its own kinds; the other topics go on.
            session.unrecorded[topic.name] = str(error)
            self._node.get_logger().error(f"cannot record {topic.name}: {error}")
            return
        self._publishers[topic.key] = count
        session.unrecorded.pop(topic.name, None)

    def _qos(self, topic: Topic) -> QoSProfile:
        """The strictest profile that every publisher of the topic matches."""
        reliable = bool(topic.qos) and all(each["reliability"] == "reliable" for each in topic.qos)
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self._depth,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
            ),
        )


def _describe(name: str, type_name: str, infos: list[TopicEndpointInfo]) -> Topic:
    profiles = tuple(_profile(each.qos_profile) for each in infos)
    try:
        definition = message_definition(type_name)
    except LookupError:
        definition = None
    type_hash = str(infos[0].topic_type_hash) if infos else ""
    latched = bool(profiles) and all(each["durability"] == "transient_local" for each in profiles)
    return Topic(
        name, type_name, definition, profiles,
        "" if type_hash == "INVALID" else type_hash, latched, len(profiles),
    )  # fmt: skip


def _profile(qos: QoSProfile) -> dict[str, Any]:
    return qos_profile(
        qos.reliability.name.lower(),
        qos.durability.name.lower(),
        history=qos.history.name.lower(),
        depth=qos.depth,
        liveliness=qos.liveliness.name.lower(),
        deadline=_duration(qos.deadline.nanoseconds),
        lifespan=_duration(qos.lifespan.nanoseconds),
        lease=_duration(qos.liveliness_lease_duration.nanoseconds),
    )


def _duration(nanoseconds: int) -> dict[str, int]:
    return {"sec": nanoseconds // 1_000_000_000, "nsec": nanoseconds % 1_000_000_000}


def _succeed(future: asyncio.Future[R], result: R) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
