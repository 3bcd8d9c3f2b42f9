"""One recorded topic's subscriptions: as many as its publishers' QoS calls for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

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
        self._seen: set[tuple[int, int | None]] = set()
        self._order: deque[tuple[int, int | None]] = deque()

    def follow(self, topic: Topic) -> None:
        """Subscribe to the kinds of publishers that ``topic`` tells of and we don't hear yet.

        None is closed while recording: a publisher that comes back finds its subscription.
        """
        kinds = {(each["reliability"], each["durability"]) for each in topic.qos} or {ANY}
        for kind in kinds - self._subscriptions.keys():
            self._subscriptions[kind] = DrainedSubscription(
                self._node, topic.type, self._cls, topic.name, self._qos(kind), self._deliver
            )

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

    def _deliver(self, sample: Sample) -> None:
        if self._again(sample):
            return
        self.sink.put(sample)
        if self._see is not None:
            self._see(sample)

    def _again(self, sample: Sample) -> bool:
        """Whether another subscription has brought it: a publisher's stamp and number are one.

        Remembered also while there is a single one: a second will bring a latched publisher's
        history, of which the first may have had some.
        """
        key = (sample.publish_ns, sample.seq)
        if key in self._seen:
            return sample.publish_ns > 0
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > 4 * self._depth:
            self._seen.discard(self._order.popleft())
        return False

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
