"""One recorded topic's subscriptions: as many as its publishers' QoS calls for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from dialtone_core.sample import Sample
from dialtone_recorder.source import Sink
from dialtone_recorder.topics import Topic, qos_profile
from dialtone_ros.drain import DrainedSubscription
from dialtone_ros.types import message_definition

#: (reliability, durability) as in the topic's profiles.
Kind = tuple[str, str]
ANY: Kind = ("best_effort", "volatile")
#: A publisher's stamp and number of a message.
Key = tuple[int, int | None]


class Polled(CallbackGroup):  # type: ignore[misc]
    """Subscriptions that no executor wakes for: who made them looks by itself (``drain``).

    A wake-up costs as much as taking 20 messages, and a recording does not care for latency:
    what DDS has received has its stamps and waits in its history.
    """

    def can_execute(self, entity: object) -> bool:
        return False

    def beginning_execution(self, entity: object) -> bool:
        return False

    def ending_execution(self, entity: object) -> None:
        """Nothing was begun."""


class Recorded:
    """Delivers a topic's messages to ``sink`` and, where it is watched, to ``see``.

    A subscription asks for one reliability and durability, and a publisher that offers less is
    not heard; one that offers more is heard with the less. So each kind of publisher gets a
    subscription of its own, and what two of them bring is taken once. Executor's thread only.
    """

    def __init__(
        self,
        node: Node,
        cls: type[Any],
        topic: Topic,
        depth: int,
        sink: Sink,
        see: Callable[[Sample], None] | None,
        turn: int,
    ) -> None:
        self.sink = sink
        self.publishers = 0
        self.turn = turn
        self._node = node
        self._cls = cls
        self._topic = topic
        self._depth = depth
        self._see = see
        self._subscriptions: dict[Kind, DrainedSubscription] = {}
        self._group = Polled()
        self._order: deque[Key] = deque(maxlen=4 * depth)
        self._seen: set[Key] | None = None

    def follow(self, topic: Topic) -> None:
        """Subscribe to the kinds of publishers that ``topic`` tells of and we don't hear yet.

        None is closed while recording: a publisher that comes back finds its subscription.
        """
        kinds = {(each["reliability"], each["durability"]) for each in topic.qos} or {ANY}
        for kind in kinds - self._subscriptions.keys():
            self._subscriptions[kind] = DrainedSubscription(
                self._node, topic.type, self._cls, topic.name, self._qos(kind),
                on_burst=self._deliver, callback_group=self._group,
            )  # fmt: skip
        if self._seen is None and len(self._subscriptions) > 1:
            self._seen = set(self._order)

    def _qos(self, kind: Kind) -> QoSProfile:
        reliability, durability = kind
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self._depth,
            reliability=(
                ReliabilityPolicy.RELIABLE
                if reliability == "reliable"
                else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL
                if durability == "transient_local"
                else DurabilityPolicy.VOLATILE
            ),
        )

    def _deliver(self, burst: list[Sample]) -> None:
        fresh = self._fresh(burst)
        self.sink.put_all(fresh)
        if self._see is not None:
            for sample in fresh:
                self._see(sample)

    def _fresh(self, burst: list[Sample]) -> list[Sample]:
        """Those that no other subscription has brought: a publisher's stamp and number are one.

        Remembered also while there is a single one: a second will bring a latched publisher's
        history, of which the first may have had some.
        """
        keys = [(sample.publish_ns, sample.seq) for sample in burst]
        if self._seen is None:
            self._order.extend(keys)
            return burst
        fresh = []
        for key, sample in zip(keys, burst, strict=True):
            if key in self._seen and sample.publish_ns > 0:
                continue
            if len(self._order) == self._order.maxlen:
                self._seen.discard(self._order[0])
            self._order.append(key)
            self._seen.add(key)
            fresh.append(sample)
        return fresh

    def drain(self) -> None:
        """Deliver what has arrived."""
        for each in list(self._subscriptions.values()):
            each.drain()

    def close(self) -> None:
        """Hear nothing more; idempotent."""
        for each in self._subscriptions.values():
            each.close()


def describe(name: str, type_name: str, infos: list[TopicEndpointInfo]) -> Topic:
    """A topic as its publishers present it; ``definition`` is None where none is installed."""
    profiles = tuple(_profile(each.qos_profile) for each in infos)
    try:
        definition = message_definition(type_name)
    except LookupError:
        definition = None
    type_hash = str(infos[0].topic_type_hash) if infos else ""
    latched = any(each["durability"] == "transient_local" for each in profiles)
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
