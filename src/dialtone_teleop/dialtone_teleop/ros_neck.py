"""The neck's topics: text lines, attitude and joint targets in; acknowledgements and joints out.

The envelope (who sent it) rides as a query, as everywhere: behind a text line
(``X50?operator=ada%2F3f2a``), and in ``header.frame_id`` of the stamped messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import QuaternionStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from dialtone_core.command import Envelope
from dialtone_core.errors import WireError
from dialtone_ros.qos import COMMAND_IN, LATCHED, SENSOR
from dialtone_teleop.neck_protocol import Head
from dialtone_teleop.neck_targets import to_joints

if TYPE_CHECKING:
    from dialtone_teleop.actuators.neck import NeckActuator

#: A bridge that subscribes when somebody asks must still get the acknowledgement of what they
#: sent right after.
_ACKS = QoSProfile(depth=20, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class NeckTopics:
    """Callbacks run in the executor, acknowledgements come from any thread."""

    def __init__(self, node: Any, neck: NeckActuator) -> None:
        self._node = node
        self._neck = neck
        self._acks = node.create_publisher(String, "neck/ack", _ACKS)
        self._joints = node.create_publisher(JointState, "joint_states", LATCHED)
        neck.on_ack = lambda text: self._acks.publish(String(data=text))
        neck.on_head = self._publish_joints
        node.create_subscription(String, "neck/command", self._on_line, SENSOR)
        node.create_subscription(QuaternionStamped, "neck/attitude", self._on_attitude, COMMAND_IN)
        node.create_subscription(JointState, "neck/joint_targets", self._on_joints, COMMAND_IN)

    def _on_line(self, message: Any) -> None:
        line, operator = message.data, ""
        if "?" in line:
            try:
                line, envelope = Envelope.from_frame_id(line)
                operator = envelope.operator
            except (WireError, ValueError):
                line = message.data  # refused as it is, by the grammar
        self._neck.command(line, operator)

    def _on_attitude(self, message: Any) -> None:
        q = message.quaternion
        self._neck.attitude((q.w, q.x, q.y, q.z), _operator(message))

    def _on_joints(self, message: Any) -> None:
        if len(message.name) == len(message.position):
            positions = dict(zip(message.name, message.position, strict=True))
            self._neck.joints(positions, _operator(message))
        else:
            self._neck.joints({})

    def _publish_joints(self, head: Head) -> None:
        joints = to_joints(head)
        message = JointState(name=list(joints), position=list(joints.values()))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._joints.publish(message)


def _operator(message: Any) -> str:
    try:
        return Envelope.from_frame_id(message.header.frame_id)[1].operator
    except (WireError, ValueError):
        return "?"  # nobody's name: holds no lease
