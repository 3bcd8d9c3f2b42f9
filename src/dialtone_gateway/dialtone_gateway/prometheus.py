"""Metrics of the gateway, and the robot's diagnostics, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dialtone_gateway.robotstate import RobotState
from dialtone_gateway.routes import Route
from dialtone_gateway.video.hub import Hub

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


class Throughput:
    """Bytes sent, and their rate over the last second or more between two questions."""

    def __init__(self) -> None:
        self.total = 0
        self._before = (time.monotonic(), 0)
        self._rate = 0.0

    def add(self, size: int) -> None:
        self.total += size

    def bytes_per_s(self) -> float:
        since_s, before = self._before
        span_s = time.monotonic() - since_s
        if span_s >= 1.0:
            self._rate = (self.total - before) / span_s
            self._before = (time.monotonic(), self.total)
        return round(self._rate, 1)


class Metrics(Collector):
    """A registry of its own, so that two gateways in one process do not mix."""

    def __init__(self, robot: str, state: RobotState, hub: Hub) -> None:
        self._robot = robot
        self._state = state
        self._hub = hub
        self.video = Throughput()
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "dialtone_gateway_requests",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "dialtone_gateway_request_seconds",
            "Time to answer, of requests that are no streams.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(self)

    def answered(self, method: str, route: Route | None, status: int, seconds: float) -> None:
        """Count a request; labels are of the route table, never what a client wrote."""
        path = route.path if route is not None else "none"
        known = method if method in _METHODS else "other"
        self.requests.labels(known, path, str(status)).inc()
        if route is not None and not route.socket and not route.media.startswith("multipart"):
            self.seconds.labels(path).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator[Metric]:
        """What is only looked up at the moment of asking."""
        yield CounterMetricFamily(
            "dialtone_gateway_video_bytes", "Picture bytes sent.", value=self.video.total
        )
        yield from self._diagnostics()
        labels = ["robot", "camera"]
        viewers = GaugeMetricFamily("dialtone_gateway_viewers", "Who watches.", labels=labels)
        frames = CounterMetricFamily(
            "dialtone_gateway_camera_frames", "Pictures received.", labels=labels
        )
        for name, camera in self._hub.cameras.items():
            viewers.add_metric([self._robot, name], camera.viewers)
            frames.add_metric([self._robot, name], camera.stats.frames)
        yield from (viewers, frames)

    def _diagnostics(self) -> Iterator[Metric]:
        level = GaugeMetricFamily(
            "dialtone_diagnostic_level",
            "0 ok, 1 warn, 2 error, 3 stale.",
            labels=["robot", "part"],
        )
        value = GaugeMetricFamily(
            "dialtone_diagnostic_value",
            "A figure of the robot's diagnostics.",
            labels=["robot", "part", "key"],
        )
        for name, status in self._state.statuses().items():
            level.add_metric([self._robot, name], status.level)
            for key, text in status.values.items():
                try:
                    value.add_metric([self._robot, name, key], float(text))
                except ValueError:
                    continue
        yield from (level, value)
