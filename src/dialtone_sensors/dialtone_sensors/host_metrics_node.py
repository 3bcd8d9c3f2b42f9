"""The host-metrics node: the machine's own figures on ``diagnostics``."""

from __future__ import annotations

import socket
from collections.abc import Callable

from rclpy.node import Node

from dialtone_ros.diagnostics import Diagnostics, Level, Report
from dialtone_ros.runtime import run
from dialtone_sensors.host_metrics import HostMetrics, Reading
from dialtone_sensors.params import HostMetricsParams


class HostMetricsNode:
    """Hands each part of the metrics to diagnostics."""

    def __init__(self, node: Node, params: HostMetricsParams) -> None:
        metrics = HostMetrics(params)
        diagnostics = Diagnostics(node, socket.gethostname(), params.period_s)
        for name, part in metrics.parts.items():
            diagnostics.add(name, _reporter(part))

    def close(self) -> None:
        """Nothing to close."""


def _reporter(part: Callable[[], Reading]) -> Callable[[], Report]:
    def report() -> Report:
        reading = part()
        return Report(Level(reading.level), reading.message, reading.values)

    return report


def main() -> None:
    """Entry point of the executable ``host_metrics_node``."""
    run("host_metrics", HostMetricsParams, HostMetricsNode)


if __name__ == "__main__":
    main()
