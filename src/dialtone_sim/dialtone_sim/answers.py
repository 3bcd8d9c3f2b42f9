"""What the autopilot does with each message, and what it answers. Pure, like the autopilot.

``now_ns`` is CLOCK_MONOTONIC, ``wall_ns`` the Unix epoch. Source: MAVLink's common.xml and
ArduRover's behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_sim import telemetry
from dialtone_sim.autopilot import MODES, Autopilot, Reply, Stream

#: param2 of MAV_CMD_COMPONENT_ARM_DISARM that skips the checks.
_FORCE_ARM = 21196
#: A 400 Hz autopilot sends nothing more often.
_SHORTEST_INTERVAL_US = 2500.0


def handle(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    """Act on one message and return the answers. Unknown ones are ignored, as MAVLink asks."""
    handler = _HANDLERS.get(message.get_type())
    if handler is None or not _is_for(autopilot, message):
        return []
    return handler(autopilot, message, now_ns, wall_ns)


def _is_for(autopilot: Autopilot, message: Any) -> bool:
    system = getattr(message, "target_system", 0)
    component = getattr(message, "target_component", 0)
    return system in (0, autopilot.params.sysid) and component in (0, 1)


def _heartbeat(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    if message.get_srcSystem() == round(autopilot.parameters["SYSID_MYGCS"]):
        autopilot.gcs_seen_ns = now_ns
    return []


def _timesync(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    if message.tc1 != 0:
        return []  # an answer, not a question
    return [mavlink.MAVLink_timesync_message(now_ns - autopilot.boot_ns, message.ts1)]


def _setpoint(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    autopilot.take_setpoint(message, now_ns)
    return []


def _command(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    """COMMAND_LONG and COMMAND_INT: param1 to param4 are the same in both."""
    act = _COMMANDS.get(message.command)
    extra: Reply = []
    if act is None:
        result = int(mavlink.MAV_RESULT_UNSUPPORTED)
    elif not (math.isfinite(message.param1) and math.isfinite(message.param2)):
        result = int(mavlink.MAV_RESULT_DENIED)
    else:
        result, extra = act(autopilot, message, now_ns, wall_ns)
    return [_ack(message, message.command, result), *extra]


def _ack(message: Any, command: int, result: int) -> Any:
    return mavlink.MAVLink_command_ack_message(
        command, result, 0, 0, message.get_srcSystem(), message.get_srcComponent()
    )


def _set_mode(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    """SET_MODE (11), the message; MAV_CMD_DO_SET_MODE is the command."""
    result = _enter(autopilot, message.base_mode, message.custom_mode)
    return [_ack(message, mavlink.MAVLINK_MSG_ID_SET_MODE, result)]


def _enter(autopilot: Autopilot, base_mode: int, mode: float) -> int:
    if not base_mode & mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED:
        return int(mavlink.MAV_RESULT_DENIED)
    if mode not in MODES:
        return int(mavlink.MAV_RESULT_FAILED)
    autopilot.enter(int(mode))
    return int(mavlink.MAV_RESULT_ACCEPTED)


def _param_list(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    return [_param_value(autopilot, name) for name in autopilot.parameters]


def _param_read(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    names = list(autopilot.parameters)
    index = message.param_index
    name = names[index] if 0 <= index < len(names) else str(message.param_id)
    return [_param_value(autopilot, name)] if name in autopilot.parameters else []


def _param_set(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> Reply:
    """An unknown name gets no answer, and a value that is no number leaves the old one."""
    if message.param_id not in autopilot.parameters:
        return []
    if math.isfinite(message.param_value):
        autopilot.parameters[message.param_id] = message.param_value
    return [_param_value(autopilot, message.param_id)]


def _param_value(autopilot: Autopilot, name: str) -> Any:
    names = list(autopilot.parameters)
    return mavlink.MAVLink_param_value_message(
        name.encode(),
        autopilot.parameters[name],
        mavlink.MAV_PARAM_TYPE_REAL32,
        len(names),
        names.index(name),
    )


# Commands return a MAV_RESULT and what is sent behind the ACK.

_Outcome = tuple[int, Reply]


def _do_set_mode(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    return _enter(autopilot, int(message.param1), message.param2), []


def _do_arm(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    if message.param1 not in (0, 1):
        return mavlink.MAV_RESULT_UNSUPPORTED, []
    arming, forced = message.param1 == 1, message.param2 == _FORCE_ARM
    if arming and not forced and not autopilot.is_ready(now_ns):
        autopilot.say("Arm: no position yet", mavlink.MAV_SEVERITY_CRITICAL)
        return mavlink.MAV_RESULT_FAILED, []
    autopilot.arm(arming)
    return mavlink.MAV_RESULT_ACCEPTED, []


def _do_set_interval(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    """param1 message id, param2 interval in µs; −1 stops it, 0 is its default."""
    number, interval_us = int(message.param1), message.param2
    if number not in telemetry.BUILDERS:
        return mavlink.MAV_RESULT_DENIED, []
    if interval_us < 0:
        if number == mavlink.MAVLINK_MSG_ID_HEARTBEAT:
            return mavlink.MAV_RESULT_DENIED, []
        autopilot.streams.pop(number, None)
        return mavlink.MAV_RESULT_ACCEPTED, []
    if interval_us == 0:
        rates_hz = telemetry.default_rates_hz(autopilot.params)
        interval_us = 1e6 / rates_hz.get(number, 1.0)
    interval_ns = round(max(interval_us, _SHORTEST_INTERVAL_US) * 1000)
    autopilot.streams[number] = Stream(interval_ns, now_ns)
    return mavlink.MAV_RESULT_ACCEPTED, []


def _do_get_interval(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    number = int(message.param1) & 0xFFFF
    stream = autopilot.streams.get(number)
    interval_us = stream.interval_ns // 1000 if stream else -1
    reply = mavlink.MAVLink_message_interval_message(number, interval_us)
    return mavlink.MAV_RESULT_ACCEPTED, [reply]


def _do_request(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    builder = telemetry.BUILDERS.get(int(message.param1))
    if builder is None:
        return mavlink.MAV_RESULT_FAILED, []
    return mavlink.MAV_RESULT_ACCEPTED, [builder(autopilot.snapshot(now_ns, wall_ns))]


def _do_version(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    version = telemetry.autopilot_version(autopilot.snapshot(now_ns, wall_ns))
    return mavlink.MAV_RESULT_ACCEPTED, [version]


def _do_reboot(autopilot: Autopilot, message: Any, now_ns: int, wall_ns: int) -> _Outcome:
    if message.param1 != 1:
        return mavlink.MAV_RESULT_UNSUPPORTED, []
    if autopilot.armed:
        return mavlink.MAV_RESULT_FAILED, []
    autopilot.restart(now_ns)
    return mavlink.MAV_RESULT_ACCEPTED, []


_HANDLERS: dict[str, Callable[[Autopilot, Any, int, int], Reply]] = {
    "HEARTBEAT": _heartbeat,
    "TIMESYNC": _timesync,
    "SET_POSITION_TARGET_LOCAL_NED": _setpoint,
    "SET_ATTITUDE_TARGET": _setpoint,
    "COMMAND_LONG": _command,
    "COMMAND_INT": _command,
    "SET_MODE": _set_mode,
    "PARAM_REQUEST_LIST": _param_list,
    "PARAM_REQUEST_READ": _param_read,
    "PARAM_SET": _param_set,
}

_COMMANDS: dict[int, Callable[[Autopilot, Any, int, int], _Outcome]] = {
    mavlink.MAV_CMD_DO_SET_MODE: _do_set_mode,
    mavlink.MAV_CMD_COMPONENT_ARM_DISARM: _do_arm,
    mavlink.MAV_CMD_SET_MESSAGE_INTERVAL: _do_set_interval,
    mavlink.MAV_CMD_GET_MESSAGE_INTERVAL: _do_get_interval,
    mavlink.MAV_CMD_REQUEST_MESSAGE: _do_request,
    mavlink.MAV_CMD_REQUEST_AUTOPILOT_CAPABILITIES: _do_version,
    mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN: _do_reboot,
}
