"""Puts a recording back onto ROS topics: the recorded bytes, under the recorded QoS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

from dialtone_core.errors import DialtoneError
from dialtone_recorder.intake import Intake
from dialtone_recorder.keys import Keys
from dialtone_recorder.playback import Playback
from dialtone_recorder.topics import Topic
from dialtone_ros.types import message_class

#: rosbag2 before version 9 wrote enums as rmw's numbers.
_DURABLE, _RELIABLE, _ALL = ("transient_local", 1), ("reliable", 1), ("keep_all", 2)
_MANUAL = ("manual_by_topic", 3)
#: rmw's infinite duration, ns; 0 is what it calls unspecified.
_NEVER = (1 << 63) - 1
_STEP_S, _FASTER = 5.0, 1.5
_KEYS_S = 0.05
_MATCH_S = 0.2


def qos_of(topic: Topic) -> QoSProfile:
    """What the first publisher offered; its depth at least 10, for a replay comes in bursts."""
    told = topic.qos[0] if topic.qos else {}
    depth = max(10, min(int(told.get("depth") or 0), 10_000))
    durable = told.get("durability") in _DURABLE
    reliable = told.get("reliability", "reliable") in _RELIABLE
    manual = told.get("liveliness") in _MANUAL
    return QoSProfile(
        history=(
            HistoryPolicy.KEEP_ALL if told.get("history") in _ALL else HistoryPolicy.KEEP_LAST
        ),
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if durable else DurabilityPolicy.VOLATILE
        ),
        deadline=_duration(told.get("deadline")),
        lifespan=_duration(told.get("lifespan")),
        liveliness=(
            LivelinessPolicy.MANUAL_BY_TOPIC if manual else LivelinessPolicy.AUTOMATIC
        ),
        liveliness_lease_duration=_duration(told.get("liveliness_lease_duration")),
    )  # fmt: skip


def _duration(told: object) -> Duration:
    """``{sec, nsec}`` of a recorded profile; what is not told, or broken, is no bound."""
    if not isinstance(told, dict):
        return Duration()
    try:
        nanoseconds = int(told.get("sec", 0)) * 1_000_000_000 + int(told.get("nsec", 0))
    except (TypeError, ValueError):
        return Duration()
    return Duration(nanoseconds=min(max(nanoseconds, 0), _NEVER))


class Replay:
    """A node of publishers, driven by the thread that calls ``run``."""

    def __init__(self, intake: Intake, topics: list[Topic]) -> None:
        self.skipped: dict[str, str] = {}
        self._intake = intake
        self._publishers: dict[tuple[str, str], Publisher] = {}
        rclpy.init()
        self._node = Node("replay")
        for topic in topics:
            try:
                cls: type[Any] = message_class(topic.type)
                made = self._node.create_publisher(cls, topic.name, qos_of(topic))
            except Exception as error:
                # A type that is not installed, or a name that this graph does not allow.
                self.skipped[topic.name] = str(error)
                continue
            self._publishers[topic.key] = made

    def close(self) -> None:
        """Let what is on its way arrive, and leave the graph."""
        for each in self._publishers.values():
            each.wait_for_all_acked(Duration(seconds=1))
        self._node.destroy_node()
        rclpy.try_shutdown()

    def wait_for_subscribers(self, timeout_s: float) -> None:
        """Until every topic has a subscriber, or it is time to go on without."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if all(each.get_subscription_count() for each in self._publishers.values()):
                break
            time.sleep(0.01)
        # A subscriber matches a moment after it is seen; until then it hears nothing.
        time.sleep(min(_MATCH_S, timeout_s))

    def run(
        self,
        speed: float,
        start_s: float,
        end_s: float | None,
        keys: Keys,
        tell: Callable[[float, str], None],
    ) -> int:
        """Publish until ``end_s``; returns the messages. ``tell(position_s, state)`` hears of it.

        Space pauses, left and right seek by 5 s, up and down change the speed, q ends.
        """
        if not self._publishers:
            raise DialtoneError(
                "nothing to replay", where=str(self._intake.path),
                fix="--commands adds topics that may move the robot",
            )  # fmt: skip
        names = [name for name, _ in self._publishers]
        play = Playback(self._intake, names, speed, start_s, time.monotonic_ns())
        count = 0
        looked_s = told_s = time.monotonic()
        while not play.ended:
            now_s = time.monotonic()
            wait_s = play.wait_s(time.monotonic_ns())
            if wait_s > 0 or now_s - looked_s > _KEYS_S:
                looked_s = now_s
                if not self._heed(keys.get(min(wait_s, _KEYS_S)), play):
                    break
            if now_s - told_s > 0.1:
                told_s = now_s
                state = "paused" if play.paused else f"×{play.speed:g}"
                tell(play.position_s(time.monotonic_ns()), state)
            if end_s is not None and play.position_s(time.monotonic_ns()) >= end_s:
                break
            if play.wait_s(time.monotonic_ns()) <= 0:
                message = play.take()
                publisher = self._publishers.get((message.topic, message.type))
                if publisher is not None:
                    publisher.publish(message.data)
                    count += 1
        return count

    def _heed(self, key: str, play: Playback) -> bool:
        now_ns = time.monotonic_ns()
        if key == " ":
            play.pause(not play.paused, now_ns)
        elif key in ("left", "right"):
            play.seek(_STEP_S if key == "right" else -_STEP_S, now_ns)
        elif key in ("up", "down"):
            play.rate(play.speed * (_FASTER if key == "up" else 1 / _FASTER), now_ns)
        return key != "q"
