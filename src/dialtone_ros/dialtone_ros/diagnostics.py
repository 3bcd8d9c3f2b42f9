"""One ``DiagnosticArray`` a second with whatever the parts of a node have to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from dialtone_ros.timers import steady_timer


class Level(IntEnum):
    """diagnostic_msgs/DiagnosticStatus levels."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What one part says of itself: a level, a short sentence, and figures by name."""

    level: Level = Level.OK
    message: str = "ok"
    values: Mapping[str, Any] = field(default_factory=dict)


def to_status(name: str, report: Report, hardware_id: str = "") -> DiagnosticStatus:
    """A ``Report`` as the ROS message."""
    return DiagnosticStatus(
        level=bytes([report.level]),
        name=name,
        message=report.message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=_text(value)) for key, value in report.values.items()],
    )


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Diagnostics:
    """Publishes on ``diagnostics`` at 1 Hz from the executor's thread.

    ``add`` names a part and a function that reports it; the function is called in that thread.
    """

    def __init__(self, node: Node, hardware_id: str = "", period_s: float = 1.0) -> None:
        self._node = node
        self._hardware_id = hardware_id
        self._parts: dict[str, Callable[[], Report]] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "diagnostics", 10)
        self._timer = steady_timer(node, period_s, self.publish)

    def add(self, part: str, report: Callable[[], Report]) -> None:
        """Report ``part`` as ``<node>: <part>`` from now on."""
        self._parts[part] = report

    def publish(self) -> None:
        """Publish now, as after a change that must not wait for the next second."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_name()
        array.status = [
            to_status(f"{name}: {part}", report(), self._hardware_id)
            for part, report in self._parts.items()
        ]
        self._publisher.publish(array)
