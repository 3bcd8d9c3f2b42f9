"""What clients send, onto ROS: checked, then published. Publishers are made at first use.

A topic has one type: Fast DDS refuses a second one within a process, and no other node would hear
it. So a message of another type than the graph's is refused, and a publisher whose type turns out
wrong, or that nobody used for long, goes.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import Twist as TwistMsg
from geometry_msgs.msg import TwistStamped
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from dialtone_bridge import ros_endpoints
from dialtone_bridge.params import RouteParams
from dialtone_bridge.ros_json import parse
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.stats import FlowStats
from dialtone_core.cdr import ENCAPSULATION_BYTES, byte_order
from dialtone_core.clock import NS_PER_S
from dialtone_core.command import Envelope, Twist
from dialtone_core.errors import WireError
from dialtone_core.naming import normalize_type
from dialtone_core.wire import decode_velocity
from dialtone_ros.types import message_class

TWIST, STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_DEPTH = 10
#: A publisher takes what no reader has acknowledged yet with it.
_LINGER_S = 1.0
#: Publishers of those who have no connection of their own to us (NATS): how many, and how long
#: one stays that nobody uses.
_MOST_SHARED, _IDLE_S = 64, 60.0
_TIDY_S = 5.0


@dataclass
class _Outlet:
    """A publisher, its type, and when it was used last."""

    publisher: Publisher
    type: str
    keeps: bool
    used_s: float


class RosInbound:
    """``transports.base.Inbound`` on a node. Called on the loop; rclpy publishes from any."""

    def __init__(self, node: Node, table: RouteTable, read_only: bool) -> None:
        self._node = node
        self._table = table
        self._read_only = read_only
        self._outlets: dict[tuple[str, str, object], _Outlet] = {}
        self._flows: dict[tuple[str, str], FlowStats] = {}
        # Made now: the first command of a drive should not wait for discovery.
        self._stamped = node.create_publisher(TwistStamped, "cmd_vel/nats", _DEPTH)

    async def run(self) -> None:
        """Close what is of no use any more, until cancelled."""
        while True:
            await asyncio.sleep(_TIDY_S)
            self._tidy(time.monotonic())

    def accepts(self, path: str) -> bool:
        return not self._read_only and self._table.accepts(self._resolve(path))

    def velocity(self, source: str, twist: Twist, envelope: Envelope) -> None:
        """Publish on ``cmd_vel/nats``, stamped with this receipt. ``source`` is the transport."""
        self._check("cmd_vel")
        message = TwistStamped()
        now_ns = time.time_ns()
        message.header.stamp.sec = now_ns // NS_PER_S
        message.header.stamp.nanosec = now_ns % NS_PER_S
        message.header.frame_id = envelope.to_frame_id()
        _fill(message.twist, twist)
        self._stamped.publish(message)
        self._count(self._stamped.topic_name, STAMPED)

    def message(
        self, path: str, type_name: str, encoding: str, payload: bytes, client: object = None
    ) -> None:
        self._check(path)
        if len(payload) > MAX_MESSAGE_BYTES:
            raise WireError("too_big", f"{len(payload)} bytes")
        type_name = _type(type_name or self._type_of(path))
        if type_name == TWIST:
            made: Any = TwistMsg()
            _fill(made, _twist(encoding, payload))
        else:
            made = _decode(type_name, encoding, payload)
        outlet = self._outlet(path, type_name, client)
        outlet.used_s = time.monotonic()
        outlet.publisher.publish(made)
        self._count(outlet.publisher.topic_name, type_name)

    def reports(self) -> list[tuple[str, str, FlowStats]]:
        """What clients published: topic, type and figures, by topic. From any thread."""
        flows = dict(self._flows)
        return [(*key, flows[key]) for key in sorted(flows)]

    def measure(self) -> None:
        """Take the rates since the last call; once a second or slower. From any thread."""
        now_ns = time.monotonic_ns()
        for stats in list(self._flows.values()):
            stats.measure(now_ns)

    def _count(self, topic: str, type_name: str) -> None:
        key = (topic, type_name)
        if key not in self._flows:
            self._flows[key] = FlowStats()
        self._flows[key].add(1, 0, time.monotonic_ns())

    def left(self, client: object) -> None:
        """Close its publishers, once what they sent last has had time to arrive."""
        self._close(key for key in list(self._outlets) if key[2] is client)

    def _tidy(self, now_s: float) -> None:
        for key, outlet in list(self._outlets.items()):
            idle = key[2] is None and not outlet.keeps and now_s - outlet.used_s > _IDLE_S
            others = ros_endpoints.types_of_others(self._node, outlet.publisher.topic_name)
            if idle or (others and outlet.type not in others):
                self._close([key])

    def _close(self, keys: Iterable[tuple[str, str, object]]) -> None:
        for outlet in [self._outlets.pop(key) for key in keys]:
            asyncio.get_running_loop().call_later(_LINGER_S, self._destroy, outlet.publisher)

    def _destroy(self, publisher: Publisher) -> None:
        """In the executor's thread, which may be looking at it."""
        executor = self._node.executor
        if executor is not None:
            executor.create_task(self._node.destroy_publisher, publisher)

    def _check(self, path: str) -> None:
        if self._read_only:
            raise WireError("read_only")
        if not self._table.accepts(self._resolve(path)):
            raise WireError("topic_not_allowed", path[:80])

    def _resolve(self, path: str) -> str:
        if path.startswith("/"):
            return path
        return f"{self._table.namespace.rstrip('/')}/{path}"

    def _type_of(self, path: str) -> str:
        """The type that the graph knows for ``path``: that of whoever listens or speaks there."""
        topic = self._resolve(path)
        try:
            types = ros_endpoints.types_of_others(self._node, topic)
        except NameValidationException as error:
            raise WireError("bad_topic", path[:80]) from error
        types = types or {key[1] for key in self._outlets if key[0] == path}
        if len(types) != 1:
            raise WireError("no_type", f"{path[:60]} has {len(types)} types on the graph")
        return next(iter(types))

    def _outlet(self, path: str, type_name: str, client: object) -> _Outlet:
        key = (path, type_name, client)
        if key not in self._outlets:
            shared = [each for each in self._outlets if each[2] is client]
            if len(shared) >= _MOST_SHARED:
                self._close([min(shared, key=lambda each: self._outlets[each].used_s)])
            self._outlets[key] = self._open(path, type_name)
        return self._outlets[key]

    def _open(self, path: str, type_name: str) -> _Outlet:
        topic = self._resolve(path)
        try:
            others = ros_endpoints.types_of_others(self._node, topic)
            if others and type_name not in others:
                raise WireError("type_mismatch", f"{path[:60]} is {' and '.join(sorted(others))}")
            qos = _qos(self._table.entry(topic))
            made = self._node.create_publisher(message_class(type_name), topic, qos)
        except NameValidationException as error:
            raise WireError("bad_topic", path[:80]) from error
        except RuntimeError as error:  # RCLError, which rclpy does not export
            why = f"{path[:60]} cannot be published as {type_name}: {error}"
            raise WireError("type_mismatch", why.splitlines()[0][:200]) from error
        keeps = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        return _Outlet(made, type_name, keeps, time.monotonic())


def _qos(route: RouteParams | None) -> QoSProfile:
    """Reliable and volatile, unless the topic's route asks for something else."""
    qos = QoSProfile(depth=_DEPTH)
    if route is not None and route.reliability == "best_effort":
        qos.reliability = ReliabilityPolicy.BEST_EFFORT
    if route is not None and (route.latched or route.durability == "transient_local"):
        qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return qos


def _type(name: str) -> str:
    try:
        name = normalize_type(name)
        message_class(name)
    except (ValueError, LookupError) as error:
        raise WireError("unknown_type", str(error)[:80]) from error
    return name


def _fill(message: Any, twist: Twist) -> None:
    linear, angular = message.linear, message.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = twist.as_tuple()


def _twist(encoding: str, payload: bytes) -> Twist:
    """Decode a Twist in ``json`` or ``cdr`` (six doubles after the encapsulation header)."""
    if encoding == "json":
        return decode_velocity(payload)[0]
    order = byte_order(payload)
    try:
        twist = Twist(*struct.unpack_from(order + "6d", payload, ENCAPSULATION_BYTES))
    except struct.error as error:
        raise WireError("truncated", f"{len(payload)} bytes of a Twist") from error
    if not twist.is_finite():
        raise WireError("not_finite", "twist")
    return twist


def _decode(type_name: str, encoding: str, payload: bytes) -> Any:
    """A message of ``type_name``; decoded even from CDR, so that no garbage reaches the robot."""
    cls = message_class(type_name)
    if encoding == "json":
        return parse(cls, payload)
    if encoding != "cdr":
        raise WireError("unknown_encoding", encoding[:20])
    byte_order(payload)
    try:
        return deserialize_message(payload, cls)
    except Exception as error:  # rclpy raises RuntimeError, MemoryError or its own RMWError
        raise WireError("truncated", str(error)[:80]) from error
