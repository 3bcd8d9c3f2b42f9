"""What the gateway knows of the robot without being asked: cameras seen, diagnostics, events.

Subscribed for as long as the gateway runs: ``camera.*.camera_info`` (it tells that a camera is
there, and its size, without carrying a picture), ``diagnostics``, and the events for the audit
log.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from nats.aio.msg import Msg

from dialtone_core.errors import WireError
from dialtone_core.wire import event_subject, telemetry_subject
from dialtone_gateway.audit import Audit
from dialtone_gateway.cdrread import Status, read_camera_size, read_diagnostics
from dialtone_gateway.link import End, RobotLink

#: First tokens of the events that the audit log keeps; others may come every few seconds.
_AUDITED = frozenset({"teleop", "recorder", "online", "offline"})
_MOST_CAMERAS = 32
_MOST_STATUSES = 1024
_FORGET_CAMERA_S = 60.0
#: Diagnostics come once a second; a part silent for so long is not shown any more.
_FORGET_STATUS_S = 10.0
_TELEOP_FRESH_S = 1.0


@dataclass
class SeenCamera:
    """What a camera's ``camera_info`` tells."""

    width: int = 0
    height: int = 0
    seen_ns: int = 0
    arrivals: deque[int] = field(default_factory=lambda: deque(maxlen=64))

    def rate_hz(self, now_ns: int) -> float:
        recent = [each for each in self.arrivals if now_ns - each < 2_000_000_000]
        span_s = (recent[-1] - recent[0]) / 1e9 if len(recent) > 1 else 0.0
        return (len(recent) - 1) / span_s if span_s > 0 else 0.0


class RobotState:
    """Loop thread only. ``open`` once the link is open."""

    def __init__(self, link: RobotLink, audit: Audit) -> None:
        self._link = link
        self._audit = audit
        self._ends: list[End] = []
        self._cameras: dict[str, SeenCamera] = {}
        self._statuses: dict[str, tuple[Status, int]] = {}
        self._teleop: tuple[dict[str, Any] | None, int] = (None, -(10**18))
        self._asking = False
        self.bad = 0

    async def open(self) -> None:
        robot, link = self._link.robot, self._link
        info = telemetry_subject(robot, "camera/*/camera_info")
        self._ends.append(await link.subscribe(info, self._on_camera_info))
        diagnostics = telemetry_subject(robot, "diagnostics")
        self._ends.append(await link.subscribe(diagnostics, self._on_diagnostics))
        self._ends.append(await link.subscribe(event_subject(robot, ">"), self._on_event))

    async def aclose(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            await end()

    def cameras(self) -> dict[str, SeenCamera]:
        """Those seen within the last minute."""
        oldest_ns = time.monotonic_ns() - int(_FORGET_CAMERA_S * 1e9)
        self._cameras = {n: c for n, c in self._cameras.items() if c.seen_ns >= oldest_ns}
        return self._cameras

    def statuses(self) -> dict[str, Status]:
        """The newest status of each part, by ``<node>: <part>``."""
        oldest_ns = time.monotonic_ns() - int(_FORGET_STATUS_S * 1e9)
        self._statuses = {n: s for n, s in self._statuses.items() if s[1] >= oldest_ns}
        return {name: status for name, (status, _) in sorted(self._statuses.items())}

    async def teleop(self) -> dict[str, Any] | None:
        """The reply of ``srv.teleop.status``, at most a second or one question old.

        One question at a time: who comes meanwhile gets the last reply, so that a slow teleop
        slows no page.
        """
        reply, asked_ns = self._teleop
        if self._asking or time.monotonic_ns() - asked_ns < _TELEOP_FRESH_S * 1e9:
            return reply
        self._asking = True
        try:
            reply = await self._link.ask("teleop", "status")
        finally:
            self._asking = False
            self._teleop = (reply, time.monotonic_ns())
        return reply

    async def _on_camera_info(self, message: Msg) -> None:
        name = message.subject.split(".")[-2]
        now_ns = time.monotonic_ns()
        try:
            width, height = read_camera_size(message.data)
        except WireError:
            self.bad += 1
            return
        camera = self._cameras.get(name)
        if camera is None:
            if len(self._cameras) >= _MOST_CAMERAS:
                return
            camera = self._cameras[name] = SeenCamera()
        camera.width, camera.height, camera.seen_ns = width, height, now_ns
        camera.arrivals.append(now_ns)

    async def _on_diagnostics(self, message: Msg) -> None:
        now_ns = time.monotonic_ns()
        try:
            found = read_diagnostics(message.data)
        except WireError:
            self.bad += 1
            return
        for status in found:
            if len(self._statuses) < _MOST_STATUSES or status.name in self._statuses:
                self._statuses[status.name] = (status, now_ns)

    async def _on_event(self, message: Msg) -> None:
        """Leases, e-stops, recordings, comings and goings: into the audit log."""
        name = message.subject.split(".evt.", 1)[-1]
        if name.partition(".")[0] not in _AUDITED:
            return
        try:
            body = orjson.loads(message.data) if len(message.data) <= 16_384 else None
        except orjson.JSONDecodeError:
            body = None
        if isinstance(body, dict):
            self._audit.note(f"evt.{name}", body=body)
