"""What really went out to the vehicle: the setpoint itself, and beside it why and how fast.

No standard message holds a setpoint together with reasons, so there are two for each: the
setpoint in its own type, which tools plot and datasets read, and a DiagnosticStatus on
``teleop/applied_status`` with the same stamp. The status is one message whose values are written
anew each time: making its parts costs more than sending it.
"""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node

from dialtone_core.clock import NS_PER_S
from dialtone_core.command import Applied, Attitude
from dialtone_ros.qos import SENSOR

_KEYS = ("kind", "stamp_ns", "source", "operator", "seq", "latency_ms", "delay_ms", "thrust")
_OK, _WARN = b"\0", b"\1"


class AppliedPublisher:
    """``publish`` is called in the thread that wrote the setpoint, one at a time."""

    def __init__(self, node: Node, flies: bool) -> None:
        self._twist = node.create_publisher(TwistStamped, "teleop/applied", SENSOR)
        self._status = node.create_publisher(DiagnosticStatus, "teleop/applied_status", SENSOR)
        self._attitude = self._rates = None
        if flies:
            self._attitude = node.create_publisher(PoseStamped, "teleop/applied_attitude", SENSOR)
            self._rates = node.create_publisher(TwistStamped, "teleop/applied_rates", SENSOR)
        self._why = DiagnosticStatus(name="applied", values=[KeyValue(key=key) for key in _KEYS])

    def publish(self, applied: Applied) -> None:
        """Publish the setpoint, then its status."""
        attitude = applied.attitude
        if attitude is None:
            kind = "velocity"
            self._twist.publish(to_twist(applied))
        elif attitude.rates is not None:
            kind = "rates"
            if self._rates is not None:
                self._rates.publish(to_rates(applied.wall_ns, attitude))
        else:
            kind = "attitude"
            if self._attitude is not None:
                self._attitude.publish(to_pose(applied.wall_ns, attitude))
        self._why.level = _WARN if applied.reasons else _OK
        self._why.message = " ".join(applied.reasons)
        texts = (
            kind,
            str(applied.wall_ns),
            applied.source,
            applied.operator,
            "" if applied.seq is None else str(applied.seq),
            _milliseconds(applied.latency_ns),
            _milliseconds(applied.delay_ns),
            "" if attitude is None else f"{attitude.thrust:.4g}",
        )
        for pair, text in zip(self._why.values, texts, strict=True):
            pair.value = text
        self._status.publish(self._why)


def to_twist(applied: Applied) -> TwistStamped:
    """``teleop/applied``."""
    message = TwistStamped()
    _stamp(message, applied.wall_ns, "base_link")
    linear, angular, twist = message.twist.linear, message.twist.angular, applied.twist
    linear.x, linear.y, linear.z = twist.x, twist.y, twist.z
    angular.x, angular.y, angular.z = twist.roll, twist.pitch, twist.yaw
    return message


def to_rates(wall_ns: int, attitude: Attitude) -> TwistStamped:
    """``teleop/applied_rates``: body rates in the angular part."""
    message = TwistStamped()
    _stamp(message, wall_ns, "base_link")
    angular = message.twist.angular
    angular.x, angular.y, angular.z = attitude.rates or (0.0, 0.0, 0.0)
    return message


def to_pose(wall_ns: int, attitude: Attitude) -> PoseStamped:
    """``teleop/applied_attitude``: FLU in ENU, no position."""
    message = PoseStamped()
    _stamp(message, wall_ns, "odom")
    q = message.pose.orientation
    q.x, q.y, q.z, q.w = attitude.orientation or (0.0, 0.0, 0.0, 1.0)
    return message


def _stamp(message: Any, wall_ns: int, frame: str) -> None:
    header = message.header
    header.stamp.sec, header.stamp.nanosec = divmod(wall_ns, NS_PER_S)
    header.frame_id = frame


def _milliseconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e6:.3f}"
