"""``/api/v1/robot``, ``cameras`` and ``operators``."""

from __future__ import annotations

import time

from aiohttp import web

from dialtone_core import __version__
from dialtone_core.paths import RobotFile
from dialtone_gateway.auth.tokens import Connections
from dialtone_gateway.link import RobotLink
from dialtone_gateway.params import GatewayParams
from dialtone_gateway.robotstate import RobotState
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Route,
    array,
    nullable,
    obj,
)
from dialtone_gateway.video.hub import Hub
from dialtone_gateway.video.variants import jpeg_size


def foxglove_url(params: GatewayParams) -> str:
    """The Foxglove server behind ``/foxglove``; empty where none is known."""
    if params.foxglove_url:
        return params.foxglove_url
    file = RobotFile.read(params.robot)
    return file.foxglove_url if file is not None else ""


class RobotApi:
    """What the dashboard shows before anything else."""

    def __init__(
        self,
        params: GatewayParams,
        link: RobotLink,
        state: RobotState,
        hub: Hub,
        connections: Connections,
    ) -> None:
        self._params = params
        self._link = link
        self._state = state
        self._hub = hub
        self._connections = connections
        self._began_s = time.monotonic()

    def routes(self) -> list[Route]:
        robot = obj(
            {
                "robot": STRING,
                "namespace": STRING,
                "version": STRING,
                "uptime_s": NUMBER,
                "nats_connected": BOOLEAN,
                "foxglove_url": nullable(STRING),
                "cameras": array(STRING),
                "teleop": nullable({"type": "object"}),
            }
        )
        camera = obj(
            {
                "name": STRING,
                "width": INTEGER,
                "height": INTEGER,
                "fps": NUMBER,
                "bytes_per_s": NUMBER,
                "viewers": INTEGER,
                "age_s": nullable(NUMBER),
            }
        )
        person = obj(
            {
                "user": STRING,
                "role": STRING,
                "session": STRING,
                "since_s": NUMBER,
                "address": STRING,
            }
        )
        operators = obj({"holder": ANY, "connected": array(person)})
        return [
            Route("GET", "/api/v1/robot", self.robot, Role.VIEWER, "The robot.", answer=robot),
            Route("GET", "/api/v1/cameras", self.cameras, Role.VIEWER, "Its cameras.",
                  answer=array(camera)),
            Route("GET", "/api/v1/operators", self.operators, Role.VIEWER,
                  "Who holds the lease, and who is connected.", answer=operators),
        ]  # fmt: skip

    async def robot(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "robot": self._params.robot,
                "namespace": self._params.namespace,
                "version": __version__,
                "uptime_s": time.monotonic() - self._began_s,
                "nats_connected": self._link.connected,
                "foxglove_url": "/foxglove" if foxglove_url(self._params) else None,
                "cameras": self._names(),
                "teleop": await self._state.teleop(),
            }
        )

    async def cameras(self, request: web.Request) -> web.Response:
        return web.json_response([self._camera(name) for name in self._names()])

    async def operators(self, request: web.Request) -> web.Response:
        teleop = await self._state.teleop()
        holder = teleop.get("holder") if teleop else None
        return web.json_response({"holder": holder, "connected": self._connections.rows()})

    def _names(self) -> list[str]:
        shown = {name for name, each in self._hub.cameras.items() if each.last is not None}
        return sorted(shown | self._state.cameras().keys())

    def _camera(self, name: str) -> dict[str, object]:
        """Figures of the pictures themselves while somebody watches, else of ``camera_info``."""
        now_ns = time.monotonic_ns()
        seen = self._state.cameras().get(name)
        watched = self._hub.cameras.get(name)
        fps, bytes_per_s = watched.stats.rates(now_ns) if watched else (0.0, 0.0)
        size = (seen.width, seen.height) if seen else (0, 0)
        stamps = [seen.seen_ns] if seen else []
        if watched is not None and watched.last is not None:
            stamps.append(watched.last.received_ns)
            size = size if all(size) else jpeg_size(watched.last.jpeg) or (0, 0)
        return {
            "name": name,
            "width": size[0],
            "height": size[1],
            "fps": round(fps or (seen.rate_hz(now_ns) if seen else 0.0), 2),
            "bytes_per_s": round(bytes_per_s),
            "viewers": watched.viewers if watched else 0,
            "age_s": round((now_ns - max(stamps)) / 1e9, 3) if stamps else None,
        }
