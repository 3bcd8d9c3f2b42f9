"""``/api/v1/metrics``: the host, its processes, the robot's parts and the gateway itself.

The robot's figures are those of its own ``diagnostics`` topic, so that they are right also where
the gateway runs on another machine.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.cdrread import Status
from dialtone_gateway.prometheus import Metrics
from dialtone_gateway.robotstate import RobotState
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import ANY, INTEGER, NUMBER, STRING, Route, array, obj
from dialtone_gateway.video.hub import Hub

_HOST = "host_metrics: "
_PROCESS = re.compile(r"(.+)_(cpu_percent|rss_mb)")


class MetricsApi:
    """JSON for the dashboard and text for Prometheus."""

    def __init__(
        self,
        state: RobotState,
        hub: Hub,
        connections: Connections,
        metrics: Metrics,
        public: bool,
    ) -> None:
        self._state = state
        self._hub = hub
        self._connections = connections
        self._metrics = metrics
        self._public = public

    def routes(self) -> list[Route]:
        process = obj({"name": STRING, "cpu_percent": NUMBER, "rss_mb": NUMBER})
        part = obj({"name": STRING, "level": INTEGER, "message": STRING, "values": ANY})
        answer = obj(
            {
                "host": {"type": "object"},
                "processes": array(process),
                "connections": INTEGER,
                "viewers": INTEGER,
                "throughput_bytes_s": NUMBER,
                "diagnostics": array(part),
            }
        )
        role = Role.PUBLIC if self._public else Role.VIEWER
        return [
            Route("GET", "/api/v1/metrics", self.metrics, Role.VIEWER,
                  "Host, processes, diagnostics.", answer=answer),
            Route("GET", "/metrics", self.prometheus, role, "The same for Prometheus.",
                  media="text/plain"),
        ]  # fmt: skip

    async def metrics(self, request: web.Request) -> web.Response:
        statuses = self._state.statuses()
        host = {
            name[len(_HOST) :]: {"message": status.message, **numbers(status)}
            for name, status in statuses.items()
            if name.startswith(_HOST) and name != f"{_HOST}processes"
        }
        body = {
            "host": host,
            "processes": processes(statuses.get(f"{_HOST}processes")),
            "connections": len(self._connections),
            "viewers": self._hub.viewers,
            "throughput_bytes_s": self._metrics.video.bytes_per_s(),
            "diagnostics": [
                {"name": n, "level": s.level, "message": s.message, "values": s.values}
                for n, s in statuses.items()
            ],
        }
        return web.json_response(body)

    async def prometheus(self, request: web.Request) -> web.Response:
        text, kind = self._metrics.text()
        return web.Response(body=text, headers={"Content-Type": kind})


def numbers(status: Status) -> dict[str, Any]:
    """The values of a status, as numbers where they are."""
    return {key: _number(value) for key, value in status.values.items()}


def processes(status: Status | None) -> list[dict[str, Any]]:
    """``<label>_cpu_percent`` and ``<label>_rss_mb`` as one row a process, the dearest first."""
    rows: dict[str, dict[str, Any]] = {}
    for key, text in (status.values if status else {}).items():
        match = _PROCESS.fullmatch(key)
        value = _number(text)
        if match and isinstance(value, float):
            row = rows.setdefault(match[1], {"name": match[1], "cpu_percent": 0.0, "rss_mb": 0.0})
            row[match[2]] = value
    return sorted(rows.values(), key=lambda row: -row["cpu_percent"])


def _number(text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if abs(value) < float("inf") else text
