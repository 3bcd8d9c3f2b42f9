"""The conversation with an autopilot: who it is, what mode it is in, and how we get to drive it.

Pure: messages and times come in, messages to send come out. Driving is *engaged* once the vehicle
has acknowledged the guided mode and arming **and** its heartbeat shows both. From then on a mode
that somebody else chose, or a disarm, ends it (``mode_changed``, ``disarmed``) until ``arm`` is
asked for again: we never fight a pilot. Times are monotonic ns; not thread-safe.

Source: MAVLink common.xml; ``mavlink_dialect`` for what differs between autopilots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.clock import NS_PER_S
from dialtone_core.command import STOP, Twist
from dialtone_teleop import mavlink_failsafe
from dialtone_teleop.mavlink_clock import TimeSync
from dialtone_teleop.mavlink_dialect import ROVER, dialect_of
from dialtone_teleop.mavlink_messages import (
    Target,
    command,
    heartbeat,
    read_parameters,
    setpoint,
    want_telemetry,
)
from dialtone_teleop.mavlink_modes import ModeRequest
from dialtone_teleop.params import MavlinkParams

_RETRY_NS = NS_PER_S // 2
#: A heartbeat a second, and some: so long may a granted mode stay unseen.
_SHOWN_NS = 3 * NS_PER_S // 2
_HEARTBEAT_NS = NS_PER_S
_TRIES_BEFORE_WORDS = 6

#: Where an autopilot wants a stream: asked for after so much of it, and filled up with zeros once
#: nothing was sent for so long. No command may be answered by a zero before its own timeout.
_PRE_STREAM_NS = 3 * NS_PER_S // 2
_FILL_NS = 7 * NS_PER_S // 20
_STREAM_NS = NS_PER_S // 10


class Session:
    """See the module. ``state`` is a reason token, "" where the vehicle may be driven."""

    def __init__(self, params: MavlinkParams, log: Callable[[str, str], None]) -> None:
        self._params = params
        self._log = log
        self._link_ns = round(params.link_timeout_s * NS_PER_S)
        self._wanted: bool | None = None
        self._lost: str = ""
        self._engaged = False
        self._acked: set[int] = set()
        self._heard_ns: int | None = None
        self._link = False
        self._retry_ns = 0
        self._tries = 0
        self._heartbeat_ns = 0
        self.system = params.target_system
        self.component = 1
        self.armed = False
        self.custom_mode = -1
        self.dialect = ROVER
        self.time_sync = TimeSync()
        #: Parameters that the vehicle told, by name.
        self.parameters: dict[str, float] = {}
        #: When our own "boot" was, for the stamps of setpoints.
        self.start_ns = 0
        self._setpoint_ns = 0
        self._stream_ns: int | None = None
        self._mode_request: ModeRequest | None = None

    def link(self, now_ns: int) -> bool:
        """Whether the vehicle's heartbeat is young enough."""
        return self._heard_ns is not None and now_ns - self._heard_ns <= self._link_ns

    def link_age_s(self, now_ns: int) -> float | None:
        return None if self._heard_ns is None else (now_ns - self._heard_ns) / NS_PER_S

    @property
    def mode(self) -> str:
        """Name of the vehicle's mode, its number where it has no name here, "" before it spoke."""
        return self.dialect.mode_name(self.custom_mode) if self.heard else ""

    @property
    def heard(self) -> bool:
        return self._heard_ns is not None

    @property
    def hands_off(self) -> bool:
        """Somebody else chose the mode, disarmed or rebooted it; ``arm`` takes it back."""
        return bool(self._lost)

    def reason(self, now_ns: int) -> str:
        """Why the vehicle may not be driven; "" where it may."""
        if self._heard_ns is None:
            return "no_vehicle"
        if not self.link(now_ns):
            return "link_lost"
        if self._engaged:
            return ""
        if self._lost:
            return self._lost
        return "arming" if self._wanted else "not_armed"

    def arm(self, wanted: bool) -> None:
        """Engage, or disarm and stay so. Ends what a pilot's mode change had latched."""
        self._mode_request = None
        self._wanted = wanted
        self._lost = ""
        self._engaged = False
        self._acked.clear()
        self._tries = 0
        self._retry_ns = 0

    def modes(self) -> tuple[str, ...]:
        """Names of the modes that may be asked for; none before the vehicle spoke."""
        return tuple(self.dialect.names.values()) if self.heard else ()

    def ask_mode(self, name: str) -> None:
        """Leave the vehicle to one of ``modes``: hands off then. The guided one is ``arm``'s."""
        if name == self.dialect.mode_name(self.dialect.guided):
            self.arm(True)
            return
        self._mode_request = ModeRequest(self.dialect, name, self._log)
        if self._wanted:
            self._lose("mode_changed")

    def is_vehicle(self, message: Any) -> bool:
        """Whether ``message`` comes from our autopilot; its first heartbeat makes it ours."""
        system, component = message.get_srcSystem(), message.get_srcComponent()
        if message.get_type() != "HEARTBEAT" or self._heard_ns is not None:
            return bool(system == self.system and component == self.component)
        if message.autopilot == mavlink.MAV_AUTOPILOT_INVALID:
            return False
        return self._params.target_system in (0, system)

    def on_heartbeat(self, message: Any, now_ns: int) -> list[Any]:
        """The vehicle lives; returns what to say to it."""
        fresh = not self._link
        if self._heard_ns is None:
            self.system, self.component = message.get_srcSystem(), message.get_srcComponent()
        self._heard_ns = now_ns
        self._link = True
        self.dialect = dialect_of(message.autopilot, message.type, self._params.dialect)
        self.custom_mode = message.custom_mode
        self.armed = bool(message.base_mode & mavlink.MAV_MODE_FLAG_SAFETY_ARMED)
        if fresh:
            kind = self.dialect.name
            self._log("info", f"vehicle {self.system} ({kind}) is on the line, mode {self.mode}")
            if self._params.auto_arm and self._wanted is None:
                self._wanted = True
        self._judge()
        if not fresh:
            return []
        asked = mavlink_failsafe.names(self.dialect.name)
        wanted = want_telemetry(self.target, self._params.telemetry_hz)
        return [*wanted, *read_parameters(self.target, asked)]

    def on_reboot(self) -> None:
        """The vehicle's own clock began anew: it has forgotten mode, arming and rates."""
        self._link = False
        self._mode_request = None
        self._lose("" if self._params.auto_arm else "rebooted")
        self._log("warn", "the vehicle rebooted")

    def on_ack(self, message: Any) -> None:
        """COMMAND_ACK: half of a confirmation, or a refusal worth a line."""
        if message.command not in (_SET_MODE, _ARM):
            return
        if self._mode_request is not None and message.command == _SET_MODE:
            self._mode_request.on_ack(message.result)
        elif message.result == mavlink.MAV_RESULT_ACCEPTED:
            self._acked.add(message.command)
            # The next request need not wait, but a heartbeat must have the time to show the last.
            self._retry_ns += _SHOWN_NS if self._answered() else -_RETRY_NS
            self._judge()
        elif self._tries <= 1:
            result = mavlink.enums["MAV_RESULT"][message.result].name
            what = "the guided mode" if message.command == _SET_MODE else "arming"
            self._log("warn", f"the vehicle refuses {what}: {result}; trying on")

    def tick(self, now_ns: int) -> list[Any]:
        """What is due at ``now_ns``: our heartbeat, and the next try to engage."""
        due: list[Any] = []
        if now_ns >= self._heartbeat_ns:
            self._heartbeat_ns = now_ns + _HEARTBEAT_NS
            due.append(heartbeat())
            if self._link:
                due += self.time_sync.tick(now_ns)
        if self._link and not self.link(now_ns):
            self._link = False
            self._log("error", "link lost: no heartbeat from the vehicle; check cable and power")
        due += self._stream(now_ns)
        due += self._ask_mode(now_ns)
        if self._link and self._trying() and now_ns >= self._retry_ns and self._streamed(now_ns):
            self._retry_ns = now_ns + _RETRY_NS
            self._tries += 1
            if self._tries == _TRIES_BEFORE_WORDS:
                self._log("warn", f"still not armed and guided (mode {self.mode}); trying on")
            due += self._engage_requests()
        return due

    @property
    def target(self) -> Target:
        """The vehicle, as an address."""
        return Target(self.system, self.component)

    def setpoint(self, twist: Twist, boot_ms: int) -> Any:
        """A body velocity for the vehicle."""
        return setpoint(self.target, twist, boot_ms)

    def sent_setpoint(self, now_ns: int) -> None:
        """A setpoint went out; the stream need not be filled up for a while."""
        self._setpoint_ns = now_ns

    def on_parameter(self, message: Any) -> None:
        """PARAM_VALUE: remember it, and warn of a vehicle that would drive on without us."""
        name = message.param_id
        known = name in self.parameters
        self.parameters[name] = mavlink_failsafe.value_of(message, self.dialect.name)
        for advice in () if known else self._judged():
            if advice.name == name:
                level = "info" if self._params.auto_arm else "warn"
                self._log(level, f"{advice.what}. Fix: {advice.fix}")

    def advice(self) -> list[str]:
        """What of the vehicle's settings makes it less safe."""
        return [each.what for each in self._judged()]

    def _judged(self) -> list[mavlink_failsafe.Advice]:
        ours = self._params.system_id
        return mavlink_failsafe.judge(self.dialect.name, self.parameters, ours)

    def _stream(self, now_ns: int) -> list[Any]:
        """Zeros, where the autopilot leaves the mode without a stream and nothing else flows."""
        wanted = self._engaged or (bool(self._wanted) and self._trying())
        if not (self.dialect.stream and self._link and wanted):
            self._stream_ns = None
            return []
        if self._stream_ns is None:
            self._stream_ns = now_ns
        if now_ns - self._setpoint_ns < (_FILL_NS if self._engaged else _STREAM_NS):
            return []
        self._setpoint_ns = now_ns
        return [self.setpoint(STOP, (now_ns - self.start_ns) // 1_000_000)]

    def _ask_mode(self, now_ns: int) -> list[Any]:
        request = self._mode_request
        if request is None or not self._link:
            return []
        values = request.tick(self.custom_mode, now_ns)
        if request.over:
            self._mode_request = None
        return [] if values is None else [self._command(_SET_MODE, *values)]

    def _streamed(self, now_ns: int) -> bool:
        """Whether enough has flowed for the mode to be granted."""
        if not (self.dialect.stream and self._wanted):
            return True
        return self._stream_ns is not None and now_ns - self._stream_ns >= _PRE_STREAM_NS

    def _trying(self) -> bool:
        if self._wanted is None:
            return False
        return not self._engaged and not self._lost if self._wanted else self.armed

    def _judge(self) -> None:
        guided = self.custom_mode == self.dialect.guided
        if self._engaged and not guided:
            self._lose("mode_changed")
            self._log("warn", f"somebody chose mode {self.mode}: hands off until armed again")
        elif self._engaged and not self.armed:
            self._lose("disarmed")
            self._log("warn", "the vehicle was disarmed: hands off until armed again")
        elif self._wanted and not self._lost and guided and self.armed and self._answered():
            if not self._engaged:
                self._log("info", f"armed, mode {self.mode}: ready to drive")
            self._engaged = True
            self._tries = 0

    def _answered(self) -> bool:
        return {_SET_MODE, _ARM} <= self._acked

    def _lose(self, why: str) -> None:
        self._engaged = False
        self._lost = why
        self._acked.clear()
        self._retry_ns = 0

    def _engage_requests(self) -> list[Any]:
        if not self._wanted:
            return [self._command(_ARM, 0)]
        if self._answered():
            # Both were granted and still the heartbeat shows otherwise: ask again from the start.
            self._acked.clear()
        if _SET_MODE in self._acked:
            return [self._command(_ARM, 1)]
        flag = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        values = self.dialect.mode_parameters(self.dialect.guided)
        return [self._command(_SET_MODE, flag, *values)]

    def _command(self, number: int, *values: float) -> Any:
        return command(self.target, number, *values)


_SET_MODE = mavlink.MAV_CMD_DO_SET_MODE
_ARM = mavlink.MAV_CMD_COMPONENT_ARM_DISARM
