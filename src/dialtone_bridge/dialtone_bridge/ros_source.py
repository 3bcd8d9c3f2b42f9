"""Topics and samples from ROS: follows the graph, subscribes raw, follows the publishers' QoS."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from dialtone_bridge.exchange import Exchange
from dialtone_bridge.qos import Offer, QosPlan, plan
from dialtone_bridge.ros_json import cdr_to_json
from dialtone_bridge.ros_replay import Replay
from dialtone_bridge.routes import BULK_TYPES
from dialtone_bridge.transports.base import Topic
from dialtone_ros.drain import DrainedSubscription, OnBurst
from dialtone_ros.timers import steady_timer
from dialtone_ros.types import message_class, message_definition

#: A robot's nodes start together: look often while they do, seldom later (each look costs CPU).
_EAGER_S, _EAGER_PERIOD_S = 8.0, 0.1
#: A node that restarts is back within this time; its topics' clients need not notice.
_FORGET_AFTER_S = 5.0
#: QoS of the publishers is looked at again when their number changes, and every so many looks.
_QOS_EVERY = 10


class RosSource:
    """The ROS graph as an ``exchange.Source``. Everything runs in the executor's thread."""

    def __init__(self, node: Node, period_s: float) -> None:
        self._node = node
        self._log = node.get_logger()
        self._period_s = period_s
        self._work: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self._do_work)
        self._timer = None
        self._started_s = time.monotonic()
        self._looks = 0
        self._exchange: Exchange | None = None
        self._on_look: Callable[[], None] = lambda: None
        self._seen: dict[str, float] = {}
        self._warned: set[str] = set()
        self._open: list[RosSubscription] = []

    def start(self, exchange: Exchange, on_look: Callable[[], None]) -> None:
        """Tell ``exchange`` of topics from now on; ``on_look`` follows every second look."""
        self._exchange = exchange
        self._on_look = on_look
        self._started_s = time.monotonic()
        self.post(lambda: self._set_period(_EAGER_PERIOD_S))

    def post(self, work: Callable[[], None]) -> None:
        self._work.append(work)
        self._guard.trigger()

    def to_json(self, type_name: str, payload: bytes) -> bytes:
        return cdr_to_json(type_name, payload)

    def subscribe(self, topic: Topic, on_burst: OnBurst) -> RosSubscription:
        made = RosSubscription(self._node, topic, on_burst, self._open.remove)
        self._open.append(made)
        return made

    def replay(self, topic: Topic, on_burst: OnBurst, on_end: Callable[[], None]) -> bool:
        route = topic.route
        wanted = _plan(self._node, topic.name, route.reliability, route.durability, False)
        if not wanted.transient_local or self._node.count_publishers(topic.name) < 2:
            return False
        Replay(self._node, (topic.name, topic.type), _profile(wanted), on_burst, on_end)
        return True

    def close(self) -> None:
        """Look no more. Subscriptions end with their flows."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _do_work(self) -> None:
        while self._work:
            self._work.popleft()()

    def _set_period(self, period_s: float) -> None:
        self.close()
        self._timer = steady_timer(self._node, period_s, self._look)

    def _look(self) -> None:
        """Compare the graph with what is known."""
        exchange = self._exchange
        if exchange is None:
            return
        now_s = time.monotonic()
        for name, types in self._node.get_topic_names_and_types():
            if self._node.count_publishers(name) > 0 and exchange.admits(name, types[0]):
                self._found(exchange, name, types, now_s)
        for name, seen_s in list(self._seen.items()):
            if now_s - seen_s > _FORGET_AFTER_S:
                del self._seen[name]
                exchange.gone(name)
        self._looks += 1
        for each in list(self._open):
            each.follow(self._looks % _QOS_EVERY == 0)
        if self._looks % 2 == 0:
            self._on_look()
        if now_s - self._started_s > _EAGER_S and self._timer is not None:
            self._started_s = float("inf")
            self._set_period(self._period_s)

    def _found(self, exchange: Exchange, name: str, types: list[str], now_s: float) -> None:
        if len(types) > 1:
            self._warn(name, f"{name} has several types ({', '.join(types)}); using {types[0]}")
        fresh = name not in self._seen
        self._seen[name] = now_s
        try:
            message_class(types[0])
            definition = message_definition(types[0])
        except LookupError as error:
            self._warn(name, f"{name} is not bridged: {error}")
            return
        latched = fresh and _plan(self._node, name, "auto", "auto", False).transient_local
        exchange.found(name, types[0], definition, latched)

    def _warn(self, name: str, line: str) -> None:
        if line not in self._warned:
            self._warned.add(line)
            self._log.warning(line)


class RosSubscription:
    """One raw subscription whose QoS follows the publishers."""

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
        self._publishers = node.count_publishers(topic.name)
        self._plan = self._wanted()
        self._subscription: DrainedSubscription | None = self._open()

    def follow(self, sure: bool) -> None:
        """Subscribe anew where the publishers' QoS changed; ``sure`` looks closely."""
        count = self._node.count_publishers(self._topic.name)
        if self._subscription is None or count == 0 or (count == self._publishers and not sure):
            return
        self._publishers = count
        wanted = self._wanted()
        if wanted.mixed and wanted.mixed != self._plan.mixed:
            self._node.get_logger().warning(
                f"publishers of {self._topic.name} differ in {' and '.join(wanted.mixed)}; "
                "asking for the weaker"
            )
        if wanted != self._plan:
            self._plan = wanted
            self._subscription.close()
            self._subscription = self._open()

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
            self._on_close(self)

    def _wanted(self) -> QosPlan:
        route = self._topic.route
        bulk = self._topic.type in BULK_TYPES
        return _plan(self._node, self._topic.name, route.reliability, route.durability, bulk)

    def _open(self) -> DrainedSubscription:
        name, type_name = self._topic.name, self._topic.type
        cls, qos = message_class(type_name), _profile(self._plan)
        route = self._topic.route
        return DrainedSubscription(
            self._node,
            type_name,
            cls,
            name,
            qos,
            on_burst=self._on_burst,
            told_of_qos=(route.reliability, route.durability) != ("auto", "auto"),
        )


def _profile(wanted: QosPlan) -> QoSProfile:
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


def _plan(node: Node, topic: str, reliability: str, durability: str, bulk: bool) -> QosPlan:
    offers = [
        Offer(
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for info in node.get_publishers_info_by_topic(topic)
    ]
    return plan(offers, reliability=reliability, durability=durability, bulk=bulk)
