"""Episodes made to measure, by other people's code: rosbags serialises, mcap writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_typestore

STORE: Any = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
START_NS = 1_800_000_000 * 10**9
FRONT = "/camera/front/image_raw/compressed"
REAR = "/camera/rear/image_raw/compressed"


def ns(seconds: float) -> int:
    """``seconds`` after the episode's start as Unix epoch ns."""
    return START_NS + round(seconds * 1e9)


def header(stamp_ns: int, frame: str = "base_link") -> Any:
    stamp = T["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return T["std_msgs/msg/Header"](stamp, frame)


def vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    return T["geometry_msgs/msg/Vector3"](x, y, z)


def odometry(at: float, stamp_ns: int | None = None) -> Any:
    """At ``at`` seconds: x is ``at`` metres, speed a slow sine."""
    point = T["geometry_msgs/msg/Point"](at, math.sin(at), 0.0)
    turn = T["geometry_msgs/msg/Quaternion"](0.0, 0.0, math.sin(at / 9), math.cos(at / 9))
    pose = T["geometry_msgs/msg/PoseWithCovariance"](
        T["geometry_msgs/msg/Pose"](point, turn), np.arange(36.0)
    )
    twist = T["geometry_msgs/msg/Twist"](vector(1 + 0.3 * math.sin(at)), vector(z=math.cos(at)))
    return T["nav_msgs/msg/Odometry"](
        header(stamp_ns or ns(at), "odom"), "base_link", pose,
        T["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36)),
    )  # fmt: skip


def twist_stamped(at: float, x: float, yaw: float) -> Any:
    twist = T["geometry_msgs/msg/Twist"](vector(x), vector(z=yaw))
    return T["geometry_msgs/msg/TwistStamped"](header(ns(at)), twist)


def joints(at: float, names: list[str]) -> Any:
    """Positions are 10 × the joint's place in ``names`` + ``at``."""
    position = np.array([10.0 * place + at for place in range(len(names))])
    empty = np.empty(0)
    return T["sensor_msgs/msg/JointState"](header(ns(at)), names, position, empty, empty)


def picture(number: int, width: int = 64, height: int = 48, shade: int = 0) -> bytes:
    """A JPEG whose brightness tells its number: grey level 4 × (number mod 60) + ``shade``."""
    pixels = np.full((height, width, 3), 4 * (number % 60) + shade, np.uint8)
    pixels[: height // 4, : width // 4] = (200, 60, 20)
    return bytes(cv2.imencode(".jpg", pixels)[1])


def image(at: float, data: bytes, format: str = "jpeg") -> Any:
    return T["sensor_msgs/msg/CompressedImage"](
        header(ns(at), "camera"), format, np.frombuffer(data, np.uint8)
    )


@dataclass
class Recipe:
    """What is recorded: (topic, type, receive time s, message); stamps are set by the message."""

    messages: list[tuple[str, str, float, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=lambda: {"task": "drive", "robot": "rover"})

    def add(self, topic: str, times: Iterable[float], make: Callable[[float], Any]) -> Recipe:
        for at in times:
            message = make(at)
            self.messages.append((topic, message.__msgtype__, at, message))
        return self

    def write(self, folder: Path, *, profile: str = "ros2", encoding: str = "cdr") -> Path:
        """An episode's folder: one chunked MCAP and ``episode.json``."""
        folder.mkdir(parents=True)
        with (folder / f"{folder.name}_0.mcap").open("wb") as stream:
            writer = Writer(stream, compression=CompressionType.ZSTD, chunk_size=1 << 16)
            writer.start(profile)
            channels: dict[str, int] = {}
            ordered = sorted(self.messages, key=lambda entry: entry[2])
            for number, (topic, type_name, at, message) in enumerate(ordered):
                if topic not in channels:
                    text = STORE.generate_msgdef(type_name, ros_version=2)[0].encode()
                    schema = writer.register_schema(type_name, "ros2msg", text)
                    channels[topic] = writer.register_channel(topic, encoding, schema)
                data = bytes(STORE.serialize_cdr(message, type_name))
                writer.add_message(channels[topic], ns(at), data, ns(at), number)
            writer.finish()
        (folder / "episode.json").write_bytes(orjson.dumps(self.facts))
        return folder


def steps(start: float, stop: float, rate_hz: float) -> list[float]:
    return [start + n / rate_hz for n in range(int((stop - start) * rate_hz + 1e-9) + 1)]


def drive(seconds: float = 4.0, rear_hz: float = 15.0, offset: float = 0.0) -> Recipe:
    """A rover with two cameras: 50 Hz odometry, 20 Hz commands and what became of them."""
    recipe = Recipe()
    recipe.add("/odom", steps(0, seconds, 50), odometry)
    wave = [0.5 + offset, 0.3]
    recipe.add(
        "/cmd_vel/nats", steps(0.01, seconds, 20),
        lambda at: twist_stamped(at, 2 * wave[0] * math.sin(at), wave[1] * math.cos(at)),
    )  # fmt: skip
    recipe.add(
        "/teleop/applied", steps(0.02, seconds, 20),
        lambda at: twist_stamped(at, wave[0] * math.sin(at), wave[1] * math.cos(at)),
    )  # fmt: skip
    recipe.add(FRONT, steps(0.005, seconds, 30), lambda at: image(at, picture(round(at * 30))))
    recipe.add(
        REAR, steps(0.015, seconds, rear_hz),
        lambda at: image(at, picture(round(at * rear_hz), shade=10)),
    )  # fmt: skip
    return recipe
