"""What a robot tells, into the driver's view: its status service, and telemetry beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from dialtone_core.errors import WireError
from dialtone_teleop.cockpit.picture import battery_share, diagnostic_values, odometry_speed
from dialtone_teleop.cockpit.robot import RobotLine
from dialtone_teleop.cockpit.view import View

#: What was measured longer ago (s) is not shown.
FRESH_S = 1.5
_RECORDER_EVERY = 4


class Hearing:
    """Fills ``view``. ``on_lease(event)`` gets ``evt.teleop.lease``."""

    def __init__(
        self, line: RobotLine, view: View, on_lease: Callable[[dict[str, Any]], None]
    ) -> None:
        self._line = line
        self._view = view
        self._on_lease = on_lease
        self._heard_s: dict[str, float] = {}
        self._asked = 0

    async def subscribe(self) -> None:
        """Hear speed, charge, state and the lease's changes from now on."""
        await self._line.hear("tlm.odom", self._guard(self._on_odometry))
        await self._line.hear("tlm.battery_state", self._guard(self._on_battery))
        await self._line.hear("tlm.teleop.state", self._guard(self._on_state))
        await self._line.hear("evt.teleop.lease", self._guard(self._on_lease_event))

    async def ask(self) -> None:
        """One look at the robot's status, and at its recorder now and then."""
        began_s = time.monotonic()
        reply = await self._line.ask("teleop", "status")
        view = self._view
        if reply is not None and reply.get("ok"):
            view.latency_ms = (time.monotonic() - began_s) * 1000
            self._on_status(reply)
        elif reply is None and await self._line.flush(1.0):
            # A robot without that service: at least the way to the server is known.
            view.latency_ms = (time.monotonic() - began_s) * 1000
        else:
            view.latency_ms = None
        self._forget()
        if self._asked % _RECORDER_EVERY == 0:
            recorder = await self._line.ask("recorder", "status") or {}
            view.recording = str(recorder.get("episode") or "yes") if _records(recorder) else ""
            view.paused = bool(recorder.get("paused"))
            view.outcome = str(recorder.get("outcome") or "")
        self._asked += 1

    def _on_status(self, reply: dict[str, Any]) -> None:
        view = self._view
        self._heard_s["status"] = time.monotonic()
        view.armed, view.mode = bool(reply.get("armed")), str(reply.get("mode", ""))
        view.estop = bool(reply.get("estop"))
        view.estop_by = str(reply.get("estop_by", ""))
        view.reasons = tuple(map(str, reply.get("reasons", ())))
        limit = reply.get("speed_limit_mps")
        view.limit_mps = float(limit) if isinstance(limit, int | float) else None
        charge = reply.get("battery")
        if isinstance(charge, int | float):
            view.battery = float(charge)
        holder = reply.get("holder")
        view.holder = str(holder.get("operator", "")) if isinstance(holder, dict) else ""

    def _on_odometry(self, payload: bytes) -> None:
        self._view.speed_mps, self._view.turn_rps = odometry_speed(payload)
        self._heard_s["odom"] = time.monotonic()

    def _on_battery(self, payload: bytes) -> None:
        self._view.battery = battery_share(payload)

    def _on_state(self, payload: bytes) -> None:
        """``teleop/state``: says it sooner than the next look at the status."""
        values, view = diagnostic_values(payload), self._view
        self._heard_s["status"] = time.monotonic()
        view.reasons = tuple(values.get("reasons", "").split())
        view.armed, view.mode = values.get("armed") == "True", values.get("mode", "")
        view.estop, view.estop_by = values.get("estop") == "True", values.get("estop_by", "")

    def _on_lease_event(self, payload: bytes) -> None:
        event = json.loads(payload)
        if isinstance(event, dict):
            self._on_lease(event)

    def _forget(self) -> None:
        """Don't show what is old for what is now."""
        now_s, view = time.monotonic(), self._view
        if now_s - self._heard_s.get("odom", -FRESH_S) > FRESH_S:
            view.speed_mps = view.turn_rps = None
        if now_s - self._heard_s.get("status", -FRESH_S) > FRESH_S:
            view.armed = view.estop = None
            view.reasons = ()

    @staticmethod
    def _guard(callback: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def hear(payload: bytes) -> None:
            try:
                callback(payload)
            except (WireError, ValueError):
                return  # what cannot be read is not shown; the robot's own counters tell of it

        return hear


def _records(reply: dict[str, Any]) -> bool:
    return bool(reply.get("ok") and reply.get("recording"))
