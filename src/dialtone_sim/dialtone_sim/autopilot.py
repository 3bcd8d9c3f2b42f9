"""The rover's autopilot: modes, arming, setpoints, timeouts and answers, as ArduRover does it.

Pure: messages and times come in, messages go out, and nothing is opened. Times are CLOCK_MONOTONIC
nanoseconds unless a name says otherwise. Not thread-safe; the vehicle's loop owns it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_sim import telemetry
from dialtone_sim.dynamics import Limits, State, step, wrap
from dialtone_sim.params import VehicleParams
from dialtone_sim.pose import Pose
from dialtone_sim.setpoints import RefusedSetpointError, Setpoint, read_attitude, read_local
from dialtone_sim.telemetry import Battery, Snapshot

MANUAL, HOLD, GUIDED = 0, 4, 15
MODES = {MANUAL: "MANUAL", HOLD: "HOLD", GUIDED: "GUIDED"}

#: rad/s of turn for each rad of heading error.
_HEADING_GAIN = 2.0
_LONGEST_STEP_S = 0.5

Reply = list[Any]


@dataclass(frozen=True, slots=True)
class SetpointEvent:
    """One setpoint message as it was judged; ``reason`` is empty where it was accepted."""

    message: Any
    reason: str
    setpoint: Setpoint | None = None


@dataclass(slots=True)
class Stream:
    """A message sent at a rate."""

    interval_ns: int
    due_ns: int


@dataclass(slots=True)
class Autopilot:
    """The vehicle's state. ``advance`` lets time pass; ``answers.handle`` acts on messages."""

    params: VehicleParams
    boot_ns: int
    on_setpoint: Callable[[SetpointEvent], None] = lambda event: None
    mode: int = MANUAL
    armed: bool = False
    state: State = field(default_factory=State)
    battery: Battery = field(init=False)
    parameters: dict[str, float] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    _setpoint: Setpoint | None = None
    _setpoint_ns: int = 0
    gcs_seen_ns: int | None = None
    streams: dict[int, Stream] = field(default_factory=dict)
    _said: Reply = field(default_factory=list)
    _stepped_ns: int = 0
    _warned_battery: bool = False

    def __post_init__(self) -> None:
        yaw = wrap(math.radians(self.params.heading_deg))
        self.state = State(yaw=yaw)
        self.battery = Battery(self.params)
        self.parameters = _parameters(self.params)
        self.restart(self.boot_ns)

    def restart(self, now_ns: int) -> None:
        """What a boot resets. The world keeps the vehicle's place, charge and parameters."""
        self.boot_ns = self._stepped_ns = now_ns
        self.mode, self.armed = MANUAL, False
        self._setpoint = self.gcs_seen_ns = None
        self.streams = {
            number: Stream(round(1e9 / rate), now_ns)
            for number, rate in telemetry.default_rates_hz(self.params).items()
        }
        self.say("Dialtone simulated rover is up", mavlink.MAV_SEVERITY_INFO)

    def advance(self, now_ns: int, wall_ns: int) -> Reply:
        """Move the vehicle to ``now_ns`` and return the telemetry that is due."""
        self._check_failsafes(now_ns)
        dt = max(0.0, min((now_ns - self._stepped_ns) / 1e9, _LONGEST_STEP_S))
        self._stepped_ns = max(now_ns, self._stepped_ns)
        speed, yaw_rate = self._targets()
        self.state = step(self.state, speed, yaw_rate, self._limits(), dt)
        self.battery.drain(self.state.speed, dt)
        now = self.snapshot(now_ns, wall_ns)
        messages, self._said = self._said, []
        for number, stream in self.streams.items():
            if now_ns < stream.due_ns:
                continue
            stream.due_ns = max(stream.due_ns + stream.interval_ns, now_ns - stream.interval_ns)
            if now.ready or number not in telemetry.NEEDS_POSITION:
                messages.append(telemetry.BUILDERS[number](now))
        return messages

    def pose(self, now_ns: int) -> Pose:
        """``base_link`` in ``odom``: NED turned to ENU (docs/wire.md)."""
        state = self.state
        yaw = wrap(math.pi / 2 - state.yaw)
        return Pose(now_ns, state.east, state.north, yaw, state.speed, -state.yaw_rate)

    def _limits(self) -> Limits:
        p = self.params
        return Limits(
            p.max_speed_mps,
            p.accel_mps2,
            p.decel_mps2,
            p.max_yaw_rate_rps,
            p.yaw_accel_rps2,
            p.motor_lag_s,
        )

    def _targets(self) -> tuple[float, float]:
        setpoint = self._setpoint
        if setpoint is None or not self.armed or self.mode != GUIDED:
            return 0.0, 0.0
        if setpoint.heading is None:
            return setpoint.speed, setpoint.yaw_rate
        return setpoint.speed, _HEADING_GAIN * wrap(setpoint.heading - self.state.yaw)

    def _check_failsafes(self, now_ns: int) -> None:
        timeout_ns = round(self.params.setpoint_timeout_s * 1e9)
        if self._setpoint is not None and now_ns - self._setpoint_ns > timeout_ns:
            self._setpoint = None
            self.say("No target received, stopping", mavlink.MAV_SEVERITY_WARNING)
        watched = self.parameters["FS_GCS_ENABLE"] and self.gcs_seen_ns is not None
        gcs_ns = round(self.parameters["FS_TIMEOUT"] * 1e9)
        if watched and self.armed and now_ns - (self.gcs_seen_ns or 0) > gcs_ns:
            self.gcs_seen_ns = None
            self.say("GCS failsafe: HOLD", mavlink.MAV_SEVERITY_WARNING)
            self.enter(HOLD)
        if self.battery.remaining < 0.1 and not self._warned_battery:
            self._warned_battery = True
            self.say("Battery low", mavlink.MAV_SEVERITY_WARNING)

    def snapshot(self, now_ns: int, wall_ns: int) -> Snapshot:
        boot_ms = max(0, now_ns - self.boot_ns) // 1_000_000 & 0xFFFF_FFFF
        return Snapshot(
            self.params,
            self.state,
            self.battery,
            boot_ms,
            wall_ns // 1000,
            self.armed,
            self.mode,
            self.is_ready(now_ns),
        )

    def is_ready(self, now_ns: int) -> bool:
        return now_ns - self.boot_ns >= self.params.ready_after_s * 1e9

    def say(self, text: str, severity: int) -> None:
        self._said.append(mavlink.MAVLink_statustext_message(severity, text.encode()[:50]))

    def enter(self, mode: int) -> None:
        """Entering a mode forgets the setpoint: a rover entering GUIDED stands until told."""
        self._setpoint = None
        self.mode = mode

    def arm(self, armed: bool) -> None:
        """Arm or disarm, now; either forgets the setpoint."""
        self._setpoint = None
        self.armed = armed

    def take_setpoint(self, message: Any, now_ns: int) -> None:
        """Judge a setpoint message and follow it; silence is the answer, taken or not."""
        try:
            setpoint = self._judge(message, now_ns)
        except RefusedSetpointError as error:
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            self.on_setpoint(SetpointEvent(message, error.reason))
            return
        self._setpoint, self._setpoint_ns = setpoint, now_ns
        self.on_setpoint(SetpointEvent(message, "", setpoint))

    def _judge(self, message: Any, now_ns: int) -> Setpoint:
        if self.mode != GUIDED:
            raise RefusedSetpointError("not_guided")
        if not self.armed:
            raise RefusedSetpointError("not_armed")
        if not self.is_ready(now_ns):
            raise RefusedSetpointError("no_position")
        if message.get_type() == "SET_ATTITUDE_TARGET":
            return read_attitude(message, self.params.max_speed_mps)
        return read_local(message, self.state.yaw)


def _parameters(params: VehicleParams) -> dict[str, float]:
    """ArduRover's names and defaults, of what this vehicle obeys."""
    return {
        "SYSID_THISMAV": float(params.sysid),
        "SYSID_MYGCS": float(params.mygcs_sysid),
        "FS_ACTION": 2.0,
        "FS_GCS_ENABLE": 0.0,
        "FS_TIMEOUT": 1.5,
    }
