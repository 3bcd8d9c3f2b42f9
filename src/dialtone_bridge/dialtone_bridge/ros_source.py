"""Topics and samples from ROS: follows the graph, and hands on what is subscribed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rclpy.exceptions import NameValidationException
from rclpy.node import Node

from dialtone_bridge import ros_endpoints
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.qos import Offer, latching
from dialtone_bridge.ros_json import cdr_to_json
from dialtone_bridge.ros_replay import Replay
from dialtone_bridge.ros_subscription import RosSubscription, profile
from dialtone_bridge.transports.base import Topic
from dialtone_ros.drain import OnBurst
from dialtone_ros.timers import OneShot, steady_timer
from dialtone_ros.types import any_definition, message_class

#: A robot's nodes start together: look often while they do, seldom later (each look costs CPU).
_EAGER_S, _EAGER_PERIOD_S = 8.0, 0.1
#: A node that restarts is back within this time; its topics' clients need not notice.
_FORGET_AFTER_S = 5.0
#: Publishers of what nobody wants are looked at closely (85 µs) when their number changes, and at
#: every tenth look.
_CLOSE_LOOK = 10
#: What a topic of the graph can be that ROS itself would not make: native DDS programs do.
_ODD = (LookupError, ValueError, RuntimeError, NameValidationException)


class RosSource:
    """The ROS graph as an ``exchange.Source``. Everything runs in the executor's thread, which no
    single topic and no single request may end."""

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
        self._publishers: dict[str, tuple[int, list[Offer]]] = {}
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
        if route.durability == "volatile":
            return False
        wanted = latching(ros_endpoints.offers(self._node, topic.name))
        if wanted is None:
            return False
        Replay(self._node, (topic.name, topic.type), profile(wanted), on_burst, on_end)
        return True

    def timer(self, work: Callable[[], None]) -> OneShot:
        return OneShot(self._node, work)

    def close(self) -> None:
        """Look no more. Subscriptions end with their flows."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _do_work(self) -> None:
        while self._work:
            work = self._work.popleft()
            try:
                work()
            except Exception as error:
                self._log.error(f"a request to ROS failed: {error!r}"[:500])

    def _set_period(self, period_s: float) -> None:
        self.close()
        self._timer = steady_timer(self._node, period_s, self._look)

    def _look(self) -> None:
        """Compare the graph with what is known."""
        exchange = self._exchange
        if exchange is None:
            return
        now_s = time.monotonic()
        self._looks += 1
        subscribed = {each.name for each in self._open}
        for name, types in self._node.get_topic_names_and_types():
            try:
                closely = name in subscribed or self._looks % _CLOSE_LOOK == 0
                self._judge(exchange, name, types, now_s, closely)
            except _ODD as error:
                self._warn(f"{name[:100]} is not bridged: {str(error).splitlines()[0][:200]}")
        for name, seen_s in list(self._seen.items()):
            if now_s - seen_s > _FORGET_AFTER_S:
                del self._seen[name]
                self._publishers.pop(name, None)
                exchange.gone(name)
        for each in list(self._open):
            each.follow(self._publishers.get(each.name, (0, []))[1])
        if self._looks % 2 == 0:
            self._on_look()
        if now_s - self._started_s > _EAGER_S and self._timer is not None:
            self._started_s = float("inf")
            self._set_period(self._period_s)

    def _judge(
        self, exchange: Exchange, name: str, types: list[str], now_s: float, closely: bool
    ) -> None:
        """Tell ``exchange`` of a topic that somebody publishes."""
        count = self._node.count_publishers(name)
        if count == 0:
            self._publishers.pop(name, None)
            return
        if not exchange.admits(name, types[0]):
            self._seen[name] = now_s
            return
        type_name = types[0] if len(types) == 1 else self._choose(exchange, name)
        message_class(type_name)
        definition = any_definition(type_name)
        self._seen[name] = now_s
        before, offers = self._publishers.get(name, (0, []))
        if count != before or closely:
            offers = ros_endpoints.offers(self._node, name)
        self._publishers[name] = (count, offers)
        latched = any(each.transient_local for each in offers)
        exchange.found(name, type_name, definition, latched)

    def _choose(self, exchange: Exchange, name: str) -> str:
        """The type to take of a topic that the graph knows by several: that which is published,
        and of several such the one that we have."""
        published = ros_endpoints.published_types(self._node, name)
        if not published:
            raise LookupError("its publisher just went")
        known = exchange.type_of(name)
        chosen = known if known in published else published[0]
        if len(published) > 1:
            self._warn(f"{name} is published as {' and '.join(published)}; taking {chosen}")
        return chosen

    def _warn(self, line: str) -> None:
        if line not in self._warned and len(self._warned) < 1000:
            self._warned.add(line)
            self._log.warning(line)
