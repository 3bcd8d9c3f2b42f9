"""Names: ROS topics, NATS subjects, message types, robots. Pure, no I/O."""

from __future__ import annotations

import re

from dialtone_core.errors import DialtoneError

#: What a robot is called that nobody named.
DEFAULT_ROBOT = "rover"
#: First token of the tail of a subject whose topic lies outside of the robot's namespace. A token
#: that begins with ``_`` is hidden in ROS, so that hardly anybody's name is in the way.
ROOT = "_root"
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

    ``namespace`` is cut off where the topic lies in it: the subject already names the robot. A
    full name outside of it goes under ``_root``: two topics never share a subject. A name without
    a leading slash lies in it.
    """
    namespace = "/" + namespace.strip("/")
    tail = topic
    if namespace != "/":
        tail = topic.removeprefix(namespace + "/")
        if tail.split("/")[0] == ROOT:  # its own, which must not pass for one of the others
            tail = f"{namespace}/{tail}"
        if tail.startswith("/"):
            tail = ROOT + tail
    return tail.strip("/").replace("/", ".")


def path_to_topic(path: str, namespace: str = "/") -> str:
    """Tail of a subject to a ROS topic: ``cmd_vel.nats`` → ``cmd_vel/nats``, relative; what is
    under ``_root`` is a full name, where there is a ``namespace`` that it can lie outside of."""
    topic = path.replace(".", "/")
    return topic.removeprefix(ROOT) if namespace != "/" and topic.startswith(f"{ROOT}/") else topic


def normalize_type(name: str) -> str:
    """Full ROS 2 type name: ``geometry_msgs/Twist`` → ``geometry_msgs/msg/Twist``.

    Foxglove's Teleop panel advertises the short form (facts: Lichtblick source). Raises
    ``ValueError`` where ``name`` is no type name at all.
    """
    if not _TYPE.fullmatch(name):
        raise ValueError(f"{name!r} is not a ROS type name")
    parts = name.split("/")
    return name if len(parts) == 3 else f"{parts[0]}/msg/{parts[1]}"
