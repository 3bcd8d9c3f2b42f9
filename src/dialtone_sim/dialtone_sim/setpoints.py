"""Setpoint messages as ArduRover reads them: masks, frames, and what it refuses in silence.

Source: ArduPilot's documentation of Rover in Guided mode, tried on ArduRover SITL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

BODY_FRAMES = (mavlink.MAV_FRAME_BODY_NED, mavlink.MAV_FRAME_BODY_OFFSET_NED)
WORLD_FRAMES = (mavlink.MAV_FRAME_LOCAL_NED, mavlink.MAV_FRAME_LOCAL_OFFSET_NED)

#: Ignore bits. A rover is planar: z and vz say nothing, and the documented mask 0x5E7 ignores vz.
_POSITION, _VELOCITY, _ACCELERATION = 0x003, 0x018, 0x1C0
_YAW, _YAW_RATE = 0x400, 0x800

_ATTITUDE_YAW_RATE, _ATTITUDE_THROTTLE, _ATTITUDE_ATTITUDE = 0x04, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What the rover shall do: ``speed`` (m/s, negative backwards) and a turn.

    Either ``yaw_rate`` (rad/s, clockwise) or ``heading`` (rad, compass) with the rate left to the
    autopilot.
    """

    speed: float = 0.0
    yaw_rate: float = 0.0
    heading: float | None = None


class RefusedSetpointError(ValueError):
    """A setpoint that an ArduRover ignores; ``reason`` is a stable token."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_local(message: Any, yaw: float) -> Setpoint:
    """SET_POSITION_TARGET_LOCAL_NED (84) with the vehicle's compass ``yaw``.

    Taken: velocity with or without a yaw or a yaw rate, or one of these two alone. Raises
    ``RefusedSetpointError``: ``frame``, ``type_mask`` (acceleration not ignored, position or
    nothing asked for), ``not_finite``.
    """
    if message.coordinate_frame not in BODY_FRAMES + WORLD_FRAMES:
        raise RefusedSetpointError("frame")
    mask = message.type_mask
    velocity = not mask & _VELOCITY
    yaw_given, rate_given = not mask & _YAW, not mask & _YAW_RATE
    if mask & _ACCELERATION != _ACCELERATION or not mask & _POSITION:
        raise RefusedSetpointError("type_mask")
    if not (velocity or yaw_given or rate_given) or (yaw_given and rate_given):
        raise RefusedSetpointError("type_mask")
    used = [message.vx, message.vy] if velocity else []
    used += [message.yaw] if yaw_given else []
    used += [message.yaw_rate] if rate_given else []
    if not all(map(math.isfinite, used)):
        raise RefusedSetpointError("not_finite")
    turn = yaw if message.coordinate_frame in BODY_FRAMES else 0.0
    speed = math.hypot(message.vx, message.vy) if velocity else 0.0
    if rate_given:
        return Setpoint(math.copysign(speed, message.vx), message.yaw_rate)
    if yaw_given:
        return Setpoint(math.copysign(speed, message.vx), heading=message.yaw + turn)
    return _towards(message.vx, message.vy, speed, turn, yaw)


def _towards(vx: float, vy: float, speed: float, turn: float, yaw: float) -> Setpoint:
    """Velocity alone: the rover turns its nose there and drives forward."""
    if speed == 0:
        return Setpoint(heading=yaw)
    return Setpoint(speed, heading=math.atan2(vy, vx) + turn)


def read_attitude(message: Any, max_speed: float) -> Setpoint:
    """SET_ATTITUDE_TARGET (82), mask 0x83: body yaw rate and thrust −1..1 of ``max_speed``."""
    mask = message.type_mask
    if mask & _ATTITUDE_THROTTLE or mask & _ATTITUDE_YAW_RATE or not mask & _ATTITUDE_ATTITUDE:
        raise RefusedSetpointError("type_mask")
    if not (math.isfinite(message.thrust) and math.isfinite(message.body_yaw_rate)):
        raise RefusedSetpointError("not_finite")
    return Setpoint(max(-1.0, min(1.0, message.thrust)) * max_speed, message.body_yaw_rate)
