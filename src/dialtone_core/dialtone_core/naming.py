"""Names: ROS topics, NATS subjects, message types, robots. Pure, no I/O."""

from __future__ import annotations

import re

from dialtone_core.errors import DialtoneError

_ROBOT = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TYPE = re.compile(r"[a-zA-Z]\w*/(?:(?:msg|srv|action)/)?[A-Z]\w*")


def check_robot_name(name: str) -> str:
    """Return ``name`` if it may be a robot's name, else raise ``DialtoneError``.

    A robot's name is a NATS token and a ROS namespace at once: lower case, digits, underscore.
    """
    if not _ROBOT.fullmatch(name):
        raise DialtoneError(
            f"robot name {name!r} is not usable in a NATS subject and a ROS namespace",
            fix="use a lower-case letter, then up to 62 of a-z, 0-9 and _",
        )
    return name


def topic_to_path(topic: str, namespace: str = "/") -> str:
    """ROS topic to the tail of a subject: ``/robot2/camera/front`` → ``camera.front``.

    ``namespace`` is cut off where the topic lies in it: the subject already names the robot.
    A topic outside of the namespace keeps its full path.
    """
    namespace = "/" + namespace.strip("/")
    if namespace != "/" and topic.startswith(namespace + "/"):
        topic = topic[len(namespace) :]
    return topic.strip("/").replace("/", ".")


def path_to_topic(path: str) -> str:
    """Tail of a subject to a relative ROS topic: ``cmd_vel.nats`` → ``cmd_vel/nats``."""
    return path.replace(".", "/")


def normalize_type(name: str) -> str:
    """Full ROS 2 type name: ``geometry_msgs/Twist`` → ``geometry_msgs/msg/Twist``.

    Foxglove's Teleop panel advertises the short form (facts: Lichtblick source). Raises
    ``ValueError`` where ``name`` is no type name at all.
    """
    if not _TYPE.fullmatch(name):
        raise ValueError(f"{name!r} is not a ROS type name")
    parts = name.split("/")
    return name if len(parts) == 3 else f"{parts[0]}/msg/{parts[1]}"
