"""A base that is on ROS already: safe commands go out on a topic, stamped or not.

The base's own driver must stop on silence (diff_drive_controller: ``cmd_vel_timeout``); a dead
teleop node publishes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import Twist as TwistMsg
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_core.command import Twist
from dialtone_ros.qos import SENSOR
from dialtone_teleop.actuator_params import RosTopicParams
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import TeleopParams
from dialtone_teleop.telemetry import Telemetry


class RosTopicActuator:
    """See the module and ``base.Actuator``. Ready while somebody subscribes to the topic."""

    def __init__(self, params: RosTopicParams, clock: Clock) -> None:
        self._params = params
        self._clock = clock
        self._node: Node | None = None
        self._publisher: Any = None
        self._open = False
        self._published = 0
        self._lock = threading.Lock()

    def attach(self, node: Node, refusal: Callable[[str], str]) -> None:
        """Publish from ``node``. Twists have passed the pipeline, so ``refusal`` isn't asked."""
        self._node = node
        kind = TwistStamped if self._params.stamped else TwistMsg
        self._publisher = node.create_publisher(kind, self._params.topic, SENSOR)

    def open(
        self, on_telemetry: Callable[[Telemetry], None], log: Callable[[str, str], None]
    ) -> None:
        self._open = True

    def send(self, twist: Twist) -> Twist | None:
        with self._lock:
            if not self._open or self._publisher is None:
                return None
            if not twist.is_zero() and not self._publisher.get_subscription_count():
                return None
            self._publisher.publish(self._message(twist))
            self._published += 1
            return twist

    def state(self, now_ns: int) -> VehicleState:
        reason = "line_down"
        if self._open and self._publisher is not None:
            reason = "" if self._publisher.get_subscription_count() else "no_subscriber"
        return VehicleState(ready=not reason, reason=reason, link=not reason, armed=not reason)

    def arm(self, wanted: bool) -> None:
        """The base's own driver arms it."""

    def figures(self) -> dict[str, object]:
        return {"topic": self._params.topic, "published": self._published}

    def close(self) -> None:
        """The publisher goes with its node."""
        with self._lock:
            self._open = False

    def _message(self, twist: Twist) -> Any:
        message = TwistStamped() if self._params.stamped else TwistMsg()
        body = message.twist if self._params.stamped else message
        if self._params.stamped:
            stamp = message.header.stamp
            stamp.sec, stamp.nanosec = divmod(self._clock.wall_ns(), NS_PER_S)
            message.header.frame_id = self._params.frame_id
        linear, angular = body.linear, body.angular
        linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = twist.as_tuple()
        return message


def create(params: TeleopParams, clock: Clock) -> RosTopicActuator:
    return RosTopicActuator(params.ros_topic, clock)
