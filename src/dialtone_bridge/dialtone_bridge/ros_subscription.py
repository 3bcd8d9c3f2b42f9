"""One topic's subscription in ROS: its QoS follows the publishers, and nothing is lost by that.

Another QoS wants another reader. The new one is there before the old one goes, and what both bring
is handed on once; so is what a latched topic's publishers give the new reader again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from dialtone_bridge import ros_endpoints
from dialtone_bridge.qos import Offer, QosPlan, plan
from dialtone_bridge.routes import BULK_TYPES
from dialtone_bridge.transports.base import Topic
from dialtone_core.sample import Sample
from dialtone_ros.drain import DrainedSubscription, OnBurst
from dialtone_ros.types import message_class

#: For so long both readers are there: publishers need a moment to find the new one.
_OVERLAP_S = 1.0
#: How many messages are remembered, so that none is handed on twice.
_REMEMBERED = 4096


class RosSubscription:
    """Everything in the executor's thread. ``follow`` at each look at the graph.

    Where ROS refuses the subscription, such as while another type is in use on the topic, that is
    said once and tried again at each look.
    """

    def __init__(
        self,
        node: Node,
        topic: Topic,
        on_burst: OnBurst,
        on_close: Callable[[RosSubscription], None],
    ) -> None:
        self._node = node
        self._topic = topic
        self._on_burst = on_burst
        self._on_close = on_close
        self._old: DrainedSubscription | None = None
        self._old_since_s = 0.0
        self._seen: OrderedDict[tuple[int, int | None], None] = OrderedDict()
        self._latches = False
        self._closed = False
        self._refused = ""
        self.qos = self._wanted(ros_endpoints.offers(node, topic.name))
        self._tell_mix(())
        self._subscription = self._open()

    @property
    def name(self) -> str:
        return self._topic.name

    def follow(self, offers: Sequence[Offer]) -> None:
        """Subscribe anew where the publishers' QoS changed, or where ROS refused it before."""
        if self._closed:
            return
        if time.monotonic() - self._old_since_s > _OVERLAP_S:
            self._close_old()
        if offers:
            self._adapt(self._wanted(offers))
        if self._subscription is None:
            self._subscription = self._open()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._close_old()
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        self._on_close(self)

    def _adapt(self, wanted: QosPlan) -> None:
        before, self.qos = self.qos, wanted
        self._tell_mix(before.mixed)
        if (wanted.reliable, wanted.transient_local) == (before.reliable, before.transient_local):
            return
        self._close_old()
        self._old, self._subscription = self._subscription, None
        self._old_since_s = time.monotonic()
        self._subscription = self._open()

    def _close_old(self) -> None:
        """What it still holds goes first: the new reader may have come after that."""
        if self._old is not None:
            self._old.drain()
            self._old.close()
            self._old = None
            if not self._latches:
                self._seen.clear()

    def _tell_mix(self, before: tuple[str, ...]) -> None:
        mixed = self.qos.mixed
        if mixed and mixed != before:
            self._node.get_logger().warning(
                f"publishers of {self._topic.name} differ in {' and '.join(mixed)}; "
                "asking for the weaker"
            )

    def _wanted(self, offers: Sequence[Offer]) -> QosPlan:
        route = self._topic.route
        return plan(
            offers,
            reliability=route.reliability,
            durability=route.durability,
            bulk=self._topic.type in BULK_TYPES,
        )

    def _open(self) -> DrainedSubscription | None:
        topic, route = self._topic, self._topic.route
        self._latches = self._latches or self.qos.transient_local
        try:
            made = DrainedSubscription(
                self._node,
                topic.type,
                message_class(topic.type),
                topic.name,
                profile(self.qos),
                on_burst=self._take,
                told_of_qos=(route.reliability, route.durability) != ("auto", "auto"),
            )
        except RuntimeError as error:  # RCLError, which rclpy does not export
            if str(error) != self._refused:
                self._refused = str(error)
                self._node.get_logger().warning(
                    f"{topic.name} cannot be subscribed as {topic.type}: "
                    f"{self._refused.splitlines()[0][:200]}; trying on"
                )
            return None
        self._refused = ""
        return made

    def _take(self, burst: list[Sample]) -> None:
        if self._old is not None or self._latches:
            burst = [each for each in burst if self._is_new(each)]
            if not burst:
                return
        self._on_burst(burst)

    def _is_new(self, sample: Sample) -> bool:
        key = (sample.publish_ns, sample.seq)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


def profile(wanted: QosPlan) -> QoSProfile:
    """The plan as rclpy wants it."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=wanted.depth,
        reliability=ReliabilityPolicy.RELIABLE
        if wanted.reliable
        else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL
        if wanted.transient_local
        else DurabilityPolicy.VOLATILE,
    )
