"""The MAVLink messages that are sent to an autopilot, from plain values. Pure.

Source: MAVLink common.xml.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.command import Twist

#: Velocity and yaw rate only; position, acceleration and yaw are ignored. ArduRover's own value.
VELOCITY_MASK = 0x5E7


class Target(NamedTuple):
    """Whom a message is for."""

    system: int
    component: int


def heartbeat() -> Any:
    """Ours: a computer on board, which is no autopilot."""
    return mavlink.MAVLink_heartbeat_message(
        mavlink.MAV_TYPE_ONBOARD_CONTROLLER,
        mavlink.MAV_AUTOPILOT_INVALID,
        0,
        0,
        mavlink.MAV_STATE_ACTIVE,
        3,
    )


def setpoint(target: Target, twist: Twist, boot_ms: int) -> Any:
    """SET_POSITION_TARGET_LOCAL_NED in BODY_NED: FLU velocities turned to FRD."""
    position = acceleration = (0.0, 0.0, 0.0)
    velocity = (twist.x, -twist.y, -twist.z)
    return mavlink.MAVLink_set_position_target_local_ned_message(
        boot_ms & 0xFFFF_FFFF,
        *target,
        mavlink.MAV_FRAME_BODY_NED,
        VELOCITY_MASK,
        *position,
        *velocity,
        *acceleration,
        0.0,
        -twist.yaw,
    )


def command(target: Target, number: int, *values: float) -> Any:
    """COMMAND_LONG; values that are left out are 0."""
    filled = (*values, *[0.0] * (7 - len(values)))
    return mavlink.MAVLink_command_long_message(*target, number, 0, *filled)


def read_parameters(target: Target, names: Iterable[str]) -> list[Any]:
    """PARAM_REQUEST_READ for each."""
    return [
        mavlink.MAVLink_param_request_read_message(*target, name.encode(), -1) for name in names
    ]


def want_telemetry(target: Target, fast_hz: float) -> list[Any]:
    """SET_MESSAGE_INTERVAL for what ``telemetry`` reads."""
    rates = {
        mavlink.MAVLINK_MSG_ID_ATTITUDE: fast_hz,
        mavlink.MAVLINK_MSG_ID_LOCAL_POSITION_NED: fast_hz,
        mavlink.MAVLINK_MSG_ID_SCALED_IMU: fast_hz,
        mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: 5.0,
        mavlink.MAVLINK_MSG_ID_SYS_STATUS: 1.0,
    }
    ask = mavlink.MAV_CMD_SET_MESSAGE_INTERVAL
    return [command(target, ask, number, round(1e6 / rate)) for number, rate in rates.items()]
