"""Frames for the 3D panel: odometry as ``foxglove.FrameTransform``, fixed joints of the URDF.

The panel draws a robot where it has transforms; ``tf2_msgs`` is not installed everywhere, and
these need no ROS at all. Schemas: github.com/foxglove/foxglove-sdk, schemas/jsonschema.
"""

from __future__ import annotations

import json
import math
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import orjson

from dialtone_bridge.foxglove.channel import ServerChannel
from dialtone_core.cdr import ENCAPSULATION_BYTES, align, byte_order, read_stamp_ns, read_string
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import WireError
from dialtone_core.sample import Sample


def _numbers(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {each: {"type": "number"} for each in names}}


_STAMP = {
    "type": "object",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": 999999999},
    },
}
_TRANSFORM: dict[str, Any] = {
    "title": "foxglove.FrameTransform",
    "type": "object",
    "properties": {
        "timestamp": _STAMP,
        "parent_frame_id": {"type": "string"},
        "child_frame_id": {"type": "string"},
        "translation": _numbers("x", "y", "z"),
        "rotation": _numbers("x", "y", "z", "w"),
    },
}
_TRANSFORMS = {
    "title": "foxglove.FrameTransforms",
    "type": "object",
    "properties": {"transforms": {"type": "array", "items": _TRANSFORM}},
}


class FrameTransforms:
    """The channel ``<odometry topic>/transform``."""

    def __init__(self, topic: str, on_wanted: Callable[[bool], None]) -> None:
        self.channel = ServerChannel(
            f"{topic}/transform",
            "foxglove.FrameTransform",
            json.dumps(_TRANSFORM),
            encoding="json",
            schema_encoding="jsonschema",
            on_wanted=on_wanted,
        )

    def put(self, burst: Sequence[Sample], log_ns: int | None = None) -> None:
        """``log_ns``: where it is not the time of receipt."""
        if not self.channel.subscribers:
            return
        for sample in burst:
            with suppress(WireError):  # what is no odometry has no pose to show
                made = transform_of_odometry(sample.payload)
                at_ns = sample.receive_ns if log_ns is None else log_ns
                self.channel.put([(orjson.dumps(made), at_ns)])


def transform_of_odometry(payload: bytes) -> dict[str, Any]:
    """The pose in a serialised ``nav_msgs/msg/Odometry``: parent → child, metres, quaternion.

    Raises ``WireError`` for bytes that are cut short.
    """
    order = byte_order(payload)
    stamp_ns = read_stamp_ns(payload)
    parent, at = read_string(payload, order, ENCAPSULATION_BYTES + 8)
    child, at = read_string(payload, order, align(at, 4))
    try:
        numbers = struct.unpack_from(order + "7d", payload, align(at, 8))
    except struct.error as error:
        raise WireError("truncated", "no room for a pose") from error
    return _transform(stamp_ns, parent, child, numbers[:3], numbers[3:])


def _transform(
    stamp_ns: int, parent: str, child: str, xyz: tuple[float, ...], xyzw: tuple[float, ...]
) -> dict[str, Any]:
    return {
        "timestamp": {"sec": stamp_ns // NS_PER_S, "nsec": stamp_ns % NS_PER_S},
        "parent_frame_id": parent,
        "child_frame_id": child,
        "translation": dict(zip("xyz", xyz, strict=True)),
        "rotation": dict(zip("xyzw", xyzw, strict=True)),
    }


def fixed_joints(urdf: str) -> list[dict[str, Any]]:
    """The static transforms of a URDF's fixed joints, at stamp 0; raises ``ValueError``."""
    try:
        root = ElementTree.fromstring(urdf)
    except ElementTree.ParseError as error:
        raise ValueError(f"the robot description is no XML ({error})") from error
    found = []
    for joint in root.iter("joint"):
        parent, child, origin = joint.find("parent"), joint.find("child"), joint.find("origin")
        if joint.get("type") != "fixed" or parent is None or child is None:
            continue
        xyz = _triple(origin, "xyz")
        rotation = quaternion(*_triple(origin, "rpy"))
        names = parent.get("link", ""), child.get("link", "")
        found.append(_transform(0, *names, xyz, rotation))
    return found


def _triple(origin: ElementTree.Element | None, name: str) -> tuple[float, float, float]:
    text = (origin.get(name) if origin is not None else None) or "0 0 0"
    try:
        x, y, z = map(float, text.split())
    except ValueError as error:
        raise ValueError(f"{name}={text[:40]!r} of a joint is not three numbers") from error
    if not all(map(math.isfinite, (x, y, z))):
        raise ValueError(f"{name}={text[:40]!r} of a joint is not finite")
    return x, y, z


def quaternion(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """x, y, z, w of fixed-axis angles in radians (URDF: roll, then pitch, then yaw)."""
    sr, cr = math.sin(roll / 2), math.cos(roll / 2)
    sp, cp = math.sin(pitch / 2), math.cos(pitch / 2)
    sy, cy = math.sin(yaw / 2), math.cos(yaw / 2)
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def static_channel(topic: str, urdf: str) -> ServerChannel:
    """A latched channel with a URDF's fixed joints as ``foxglove.FrameTransforms``."""
    channel = ServerChannel(
        topic,
        "foxglove.FrameTransforms",
        json.dumps(_TRANSFORMS),
        encoding="json",
        schema_encoding="jsonschema",
        latched=True,
    )
    channel.put([(orjson.dumps({"transforms": fixed_joints(urdf)}), 0)])
    return channel


def description_channel(topic: str, urdf: str) -> ServerChannel:
    """A latched ``std_msgs/msg/String`` with the URDF, as robot_state_publisher publishes it."""
    channel = ServerChannel(topic, "std_msgs/msg/String", "string data\n", latched=True)
    body = urdf.encode() + b"\0"
    channel.put([(b"\0\1\0\0" + struct.pack("<I", len(body)) + body, 0)])
    return channel
