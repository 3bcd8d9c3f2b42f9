"""The ROS side of teleop, inwards: command inputs, locks, services. ``ros_report`` is outwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from geometry_msgs.msg import Twist as TwistMsg
from rclpy.node import Node
from std_msgs.msg import Bool, Float64
from std_srvs.srv import SetBool

from dialtone_core.clock import Clock
from dialtone_core.command import EMPTY_ENVELOPE, STOP, Attitude, Command, Envelope, Twist
from dialtone_core.errors import DialtoneError, WireError
from dialtone_ros.qos import COMMAND_IN
from dialtone_teleop.control import Control
from dialtone_teleop.engine import Engine
from dialtone_teleop.params import (
    LONGEST_SILENCE_S,
    POSE_STAMPED,
    TWIST,
    TWIST_STAMPED,
    SourceParams,
    TeleopParams,
)


class CommandInputs:
    """Subscribes to every source and lock of the tables; callbacks run in the executor."""

    def __init__(self, node: Node, params: TeleopParams, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._max_delay_ns = round(params.max_delay_s * 1e9)
        self._thrust = 0.0
        self._thrust_ns: int | None = None
        self._longest_thrust_ns = round(LONGEST_SILENCE_S * 1e9)
        self._subscriptions = [
            self._source(node, name, source) for name, source in params.sources.items()
        ]
        self._subscriptions += [
            node.create_subscription(Bool, lock.topic or name, self._on_lock(name), COMMAND_IN)
            for name, lock in params.locks.items()
        ]
        if params.attitude.thrust:
            thrust = node.create_subscription(Float64, "cmd_thrust", self._on_thrust, COMMAND_IN)
            self._subscriptions.append(thrust)
        self._subscriptions += [
            node.create_subscription(Bool, source.deadman, self._on_deadman(name), COMMAND_IN)
            for name, source in params.sources.items()
            if source.deadman
        ]

    def _source(self, node: Node, name: str, source: SourceParams) -> Any:
        message, callback = {
            TWIST: (TwistMsg, self._on_twist(name)),
            TWIST_STAMPED: (TwistStamped, self._on_stamped(name, source.rates)),
            POSE_STAMPED: (PoseStamped, self._on_stamped(name, True)),
        }[source.type]
        return node.create_subscription(message, source.topic or name, callback, COMMAND_IN)

    def _on_thrust(self, message: Any) -> None:
        self._thrust, self._thrust_ns = message.data, self._clock.monotonic_ns()

    def _on_twist(self, name: str) -> Callable[[Any, Any], None]:
        def receive(message: Any, info: Any) -> None:
            # The reader's own stamp: it waited that long for this thread, whoever sent it.
            received_ns = info["received_timestamp"]
            if received_ns and self._clock.wall_ns() - received_ns > self._max_delay_ns:
                self._engine.refuse(name, "stale")
                return
            self._act(name, message, EMPTY_ENVELOPE, info["source_timestamp"])

        return receive

    def _on_stamped(self, name: str, flown: bool) -> Callable[[Any, Any], None]:
        def receive(message: Any, info: Any) -> None:
            try:
                _, envelope = Envelope.from_frame_id(message.header.frame_id)
            except (WireError, ValueError):
                self._engine.refuse(name, "bad_envelope")
                return
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
            # The stamp is this robot's own receipt: one clock, so its age may be asked for.
            if stamp_ns and self._clock.wall_ns() - stamp_ns > self._max_delay_ns:
                self._engine.refuse(name, "stale")
                return
            if flown:
                self._fly(name, message, envelope)
            else:
                self._act(name, message.twist, envelope, stamp_ns or info["source_timestamp"])

        return receive

    def _act(self, name: str, message: Any, envelope: Envelope, stamp_ns: int) -> None:
        received_ns = self._clock.monotonic_ns()
        self._engine.command(Command(name, from_twist(message), received_ns, envelope), stamp_ns)

    def _fly(self, name: str, message: Any, envelope: Envelope) -> None:
        """Attitude or body rates, with the newest thrust; refused without one (``no_thrust``)."""
        now_ns = self._clock.monotonic_ns()
        if self._thrust_ns is None or now_ns - self._thrust_ns > self._longest_thrust_ns:
            self._engine.refuse(name, "no_thrust")
            return
        attitude = to_attitude(message, self._thrust)
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec or None
        self._engine.command(Command(name, STOP, now_ns, envelope, attitude), stamp_ns)

    def _on_lock(self, name: str) -> Callable[[Any], None]:
        return lambda message: self._engine.set_lock(name, message.data)

    def _on_deadman(self, name: str) -> Callable[[Any], None]:
        return lambda message: self._engine.set_deadman(name, message.data)


class Services:
    """``teleop/estop`` and ``teleop/arm``, and the topic ``teleop/estop_request``.

    A true on the topic fires the e-stop. A false does nothing: a topic has no caller whose role
    could be asked for, and some publishers repeat themselves.
    """

    def __init__(self, node: Node, engine: Engine, control: Control, role: str) -> None:
        self._log = node.get_logger()
        self._engine = engine
        self._control = control
        self._role = role
        node.create_service(SetBool, "teleop/estop", self._on_estop)
        node.create_service(SetBool, "teleop/arm", self._on_arm)
        node.create_subscription(Bool, "teleop/estop_request", self._on_request, 10)

    def _on_request(self, message: Any) -> None:
        if message.data:
            self._warn(self._control.estop(True, "ros topic", self._role))

    def _on_estop(self, request: Any, response: Any) -> Any:
        response.success = True
        response.message = "e-stop latched" if request.data else "e-stop cleared"
        try:
            warning = self._control.estop(request.data, "ros", self._role)
        except DialtoneError as error:
            response.success, warning = False, str(error)
        if warning:
            response.message = warning
            self._warn(warning)
        return response

    def _warn(self, line: str) -> None:
        if line:
            self._log.error(line)

    def _on_arm(self, request: Any, response: Any) -> Any:
        self._engine.arm(request.data)
        response.success = True
        asked = "guided mode and arming" if request.data else "disarming"
        response.message = f"asked the vehicle for {asked}; teleop/state tells when it is done"
        return response


def to_attitude(message: Any, thrust: float) -> Attitude:
    """A PoseStamped's orientation, or a TwistStamped's angular part as body rates."""
    if hasattr(message, "pose"):
        q = message.pose.orientation
        return Attitude(thrust, orientation=(q.x, q.y, q.z, q.w))
    rates = message.twist.angular
    return Attitude(thrust, rates=(rates.x, rates.y, rates.z))


def from_twist(message: Any) -> Twist:
    """geometry_msgs/Twist → plain."""
    linear, angular = message.linear, message.angular
    return Twist(linear.x, linear.y, linear.z, angular.x, angular.y, angular.z)
