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
#: param2 of MAV_CMD_COMPONENT_ARM_DISARM that skips the checks (common.xml).
_FORCE_ARM = 21196
_LONGEST_STEP_S = 0.5

Reply = list[Any]


@dataclass(frozen=True, slots=True)
class SetpointEvent:
    """One setpoint message as it was judged; ``reason`` is empty where it was accepted."""

    message: Any
    reason: str
    setpoint: Setpoint | None = None


@dataclass(slots=True)
class _Stream:
    """A message sent at a rate."""

    interval_ns: int
    due_ns: int


@dataclass(slots=True)
class Autopilot:
    """``handle`` takes a message, ``advance`` lets time pass; both return what to send."""

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
    _gcs_seen_ns: int | None = None
    _streams: dict[int, _Stream] = field(default_factory=dict)
    _said: Reply = field(default_factory=list)
    _stepped_ns: int = 0
    _warned_battery: bool = False

    def __post_init__(self) -> None:
        yaw = wrap(math.radians(self.params.heading_deg))
        self.state = State(yaw=yaw)
        self.battery = Battery(self.params)
        self.parameters = _parameters(self.params)
        self._start(self.boot_ns)

    def _start(self, now_ns: int) -> None:
        """What a boot resets. The world keeps the vehicle's place, charge and parameters."""
        self.boot_ns = self._stepped_ns = now_ns
        self.mode, self.armed = MANUAL, False
        self._setpoint = self._gcs_seen_ns = None
        self._streams = {
            number: _Stream(round(1e9 / rate), now_ns)
            for number, rate in telemetry.default_rates_hz(self.params).items()
        }
        self._say("Dialtone simulated rover is up", mavlink.MAV_SEVERITY_INFO)

    # Time

    def advance(self, now_ns: int, wall_ns: int) -> Reply:
        """Move the vehicle to ``now_ns`` and return the telemetry that is due."""
        self._check_failsafes(now_ns)
        dt = max(0.0, min((now_ns - self._stepped_ns) / 1e9, _LONGEST_STEP_S))
        self._stepped_ns = max(now_ns, self._stepped_ns)
        speed, yaw_rate = self._targets()
        self.state = step(self.state, speed, yaw_rate, self._limits(), dt)
        self.battery.drain(self.state.speed, dt)
        now = self._snapshot(now_ns, wall_ns)
        messages, self._said = self._said, []
        for number, stream in self._streams.items():
            if now_ns < stream.due_ns:
                continue
            stream.due_ns = max(stream.due_ns + stream.interval_ns, now_ns - stream.interval_ns)
            if now.ready or number not in telemetry.NEEDS_POSITION:
                messages.append(telemetry.BUILDERS[number](now))
        return messages

    def next_due_ns(self) -> int:
        """When the next message is due, if nothing comes in before."""
        return min(stream.due_ns for stream in self._streams.values())

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
            self._say("No target received, stopping", mavlink.MAV_SEVERITY_WARNING)
        watched = self.parameters["FS_GCS_ENABLE"] and self._gcs_seen_ns is not None
        gcs_ns = round(self.parameters["FS_TIMEOUT"] * 1e9)
        if watched and self.armed and now_ns - (self._gcs_seen_ns or 0) > gcs_ns:
            self._gcs_seen_ns = None
            self._say("GCS failsafe: HOLD", mavlink.MAV_SEVERITY_WARNING)
            self._enter(HOLD)
        if self.battery.remaining < 0.1 and not self._warned_battery:
            self._warned_battery = True
            self._say("Battery low", mavlink.MAV_SEVERITY_WARNING)

    def _snapshot(self, now_ns: int, wall_ns: int) -> Snapshot:
        boot_ms = max(0, now_ns - self.boot_ns) // 1_000_000 & 0xFFFF_FFFF
        return Snapshot(
            self.params,
            self.state,
            self.battery,
            boot_ms,
            wall_ns // 1000,
            self.armed,
            self.mode,
            self._ready(now_ns),
        )

    def _ready(self, now_ns: int) -> bool:
        return now_ns - self.boot_ns >= self.params.ready_after_s * 1e9

    def _say(self, text: str, severity: int) -> None:
        self._said.append(mavlink.MAVLink_statustext_message(severity, text.encode()[:50]))

    # Messages

    def handle(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        """Act on one message and return the answers. Unknown ones are ignored, as MAVLink asks."""
        handler = _HANDLERS.get(message.get_type())
        if handler is None or not self._is_for_us(message):
            return []
        return handler(self, message, now_ns, wall_ns)

    def _is_for_us(self, message: Any) -> bool:
        system = getattr(message, "target_system", 0)
        component = getattr(message, "target_component", 0)
        return system in (0, self.params.sysid) and component in (0, 1)

    def _on_heartbeat(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        if message.get_srcSystem() == round(self.parameters["SYSID_MYGCS"]):
            self._gcs_seen_ns = now_ns
        return []

    def _on_timesync(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        if message.tc1 != 0:
            return []  # an answer, not a question
        return [mavlink.MAVLink_timesync_message(now_ns - self.boot_ns, message.ts1)]

    def _on_setpoint(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        """Silence is what ArduRover answers to a setpoint, taken or not."""
        try:
            setpoint = self._judge(message, now_ns)
        except RefusedSetpointError as error:
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            self.on_setpoint(SetpointEvent(message, error.reason))
            return []
        self._setpoint, self._setpoint_ns = setpoint, now_ns
        self.on_setpoint(SetpointEvent(message, "", setpoint))
        return []

    def _judge(self, message: Any, now_ns: int) -> Setpoint:
        if self.mode != GUIDED:
            raise RefusedSetpointError("not_guided")
        if not self.armed:
            raise RefusedSetpointError("not_armed")
        if not self._ready(now_ns):
            raise RefusedSetpointError("no_position")
        if message.get_type() == "SET_ATTITUDE_TARGET":
            return read_attitude(message, self.params.max_speed_mps)
        return read_local(message, self.state.yaw)

    def _on_command(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        """COMMAND_LONG and COMMAND_INT: param1 to param4 are the same in both."""
        command = _COMMANDS.get(message.command)
        extra: Reply = []
        if command is None:
            result = mavlink.MAV_RESULT_UNSUPPORTED
        elif not math.isfinite(message.param1):
            result = mavlink.MAV_RESULT_DENIED
        else:
            result, extra = command(self, message, now_ns, wall_ns)
        return [self._ack(message, message.command, result), *extra]

    def _ack(self, message: Any, command: int, result: int) -> Any:
        return mavlink.MAVLink_command_ack_message(
            command, result, 0, 0, message.get_srcSystem(), message.get_srcComponent()
        )

    def _on_set_mode(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        """SET_MODE (11), the message; MAV_CMD_DO_SET_MODE is the command."""
        result = self._set_mode(message.base_mode, message.custom_mode)
        return [self._ack(message, mavlink.MAVLINK_MSG_ID_SET_MODE, result)]

    def _set_mode(self, base_mode: int, mode: float) -> int:
        if not base_mode & mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED:
            return int(mavlink.MAV_RESULT_DENIED)
        if mode not in MODES:
            return int(mavlink.MAV_RESULT_FAILED)
        self._enter(int(mode))
        return int(mavlink.MAV_RESULT_ACCEPTED)

    def _enter(self, mode: int) -> None:
        """Entering a mode forgets the setpoint: a rover entering GUIDED stands until told."""
        self._setpoint = None
        self.mode = mode

    def _do_set_mode(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        return self._set_mode(int(message.param1), message.param2), []

    def _do_arm(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        if message.param1 not in (0, 1):
            return mavlink.MAV_RESULT_UNSUPPORTED, []
        if message.param1 == 1 and not self._ready(now_ns) and message.param2 != _FORCE_ARM:
            self._say("Arm: no position yet", mavlink.MAV_SEVERITY_CRITICAL)
            return mavlink.MAV_RESULT_FAILED, []
        self.armed = message.param1 == 1
        self._setpoint = None
        return mavlink.MAV_RESULT_ACCEPTED, []

    def _do_set_interval(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        """param1 message id, param2 interval µs; −1 stops it, 0 is its default (common.xml)."""
        number, interval_us = int(message.param1), message.param2
        if number not in telemetry.BUILDERS or not math.isfinite(interval_us):
            return mavlink.MAV_RESULT_DENIED, []
        if interval_us < 0:
            if number == mavlink.MAVLINK_MSG_ID_HEARTBEAT:
                return mavlink.MAV_RESULT_DENIED, []
            self._streams.pop(number, None)
            return mavlink.MAV_RESULT_ACCEPTED, []
        if interval_us == 0:
            interval_us = 1e6 / telemetry.default_rates_hz(self.params).get(number, 1.0)
        # A 400 Hz loop sends nothing faster than 2.5 ms.
        self._streams[number] = _Stream(round(max(interval_us, 2500) * 1000), now_ns)
        return mavlink.MAV_RESULT_ACCEPTED, []

    def _do_get_interval(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        number = int(message.param1) & 0xFFFF
        stream = self._streams.get(number)
        interval_us = stream.interval_ns // 1000 if stream else -1
        reply = mavlink.MAVLink_message_interval_message(number, interval_us)
        return mavlink.MAV_RESULT_ACCEPTED, [reply]

    def _do_request(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        builder = telemetry.BUILDERS.get(int(message.param1))
        if builder is None:
            return mavlink.MAV_RESULT_FAILED, []
        return mavlink.MAV_RESULT_ACCEPTED, [builder(self._snapshot(now_ns, wall_ns))]

    def _do_version(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        version = telemetry.autopilot_version(self._snapshot(now_ns, wall_ns))
        return mavlink.MAV_RESULT_ACCEPTED, [version]

    def _do_reboot(self, message: Any, now_ns: int, wall_ns: int) -> tuple[int, Reply]:
        if message.param1 != 1:
            return mavlink.MAV_RESULT_UNSUPPORTED, []
        if self.armed:
            return mavlink.MAV_RESULT_FAILED, []
        self._start(now_ns)
        return mavlink.MAV_RESULT_ACCEPTED, []

    # Parameters

    def _on_param_list(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        return [self._param_value(name) for name in self.parameters]

    def _on_param_read(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        names = list(self.parameters)
        index = message.param_index
        name = names[index] if 0 <= index < len(names) else str(message.param_id)
        return [self._param_value(name)] if name in self.parameters else []

    def _on_param_set(self, message: Any, now_ns: int, wall_ns: int) -> Reply:
        """An unknown name gets no answer and a value that is no number leaves the old one."""
        if message.param_id not in self.parameters:
            return []
        if math.isfinite(message.param_value):
            self.parameters[message.param_id] = message.param_value
        return [self._param_value(message.param_id)]

    def _param_value(self, name: str) -> Any:
        return mavlink.MAVLink_param_value_message(
            name.encode(),
            self.parameters[name],
            mavlink.MAV_PARAM_TYPE_REAL32,
            len(self.parameters),
            list(self.parameters).index(name),
        )


def _parameters(params: VehicleParams) -> dict[str, float]:
    """ArduRover's names and defaults, of what this vehicle obeys."""
    return {
        "SYSID_THISMAV": float(params.sysid),
        "SYSID_MYGCS": float(params.mygcs_sysid),
        "FS_ACTION": 2.0,
        "FS_GCS_ENABLE": 0.0,
        "FS_TIMEOUT": 1.5,
    }


_Handler = Callable[[Autopilot, Any, int, int], Reply]
_Command = Callable[[Autopilot, Any, int, int], tuple[int, Reply]]

_HANDLERS: dict[str, _Handler] = {
    "HEARTBEAT": Autopilot._on_heartbeat,
    "TIMESYNC": Autopilot._on_timesync,
    "SET_POSITION_TARGET_LOCAL_NED": Autopilot._on_setpoint,
    "SET_ATTITUDE_TARGET": Autopilot._on_setpoint,
    "COMMAND_LONG": Autopilot._on_command,
    "COMMAND_INT": Autopilot._on_command,
    "SET_MODE": Autopilot._on_set_mode,
    "PARAM_REQUEST_LIST": Autopilot._on_param_list,
    "PARAM_REQUEST_READ": Autopilot._on_param_read,
    "PARAM_SET": Autopilot._on_param_set,
}

_COMMANDS: dict[int, _Command] = {
    mavlink.MAV_CMD_DO_SET_MODE: Autopilot._do_set_mode,
    mavlink.MAV_CMD_COMPONENT_ARM_DISARM: Autopilot._do_arm,
    mavlink.MAV_CMD_SET_MESSAGE_INTERVAL: Autopilot._do_set_interval,
    mavlink.MAV_CMD_GET_MESSAGE_INTERVAL: Autopilot._do_get_interval,
    mavlink.MAV_CMD_REQUEST_MESSAGE: Autopilot._do_request,
    mavlink.MAV_CMD_REQUEST_AUTOPILOT_CAPABILITIES: Autopilot._do_version,
    mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN: Autopilot._do_reboot,
}
