"""SET_ATTITUDE_TARGET from an attitude in ROS's frames.

Orientation turns from FLU in ENU to FRD in NED; body rates turn by (x, −y, −z), not by swapping x
and y. A rover (ArduRover's GUIDED) obeys only the yaw rate and the thrust of it.
Source: MAVLink common.xml, ATTITUDE_TARGET_TYPEMASK.
"""

from __future__ import annotations

from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.command import Attitude
from dialtone_teleop.telemetry import attitude_to_enu, body_to_flu

IGNORE_RATES, IGNORE_ATTITUDE = 0x07, 0x80


def attitude_target(attitude: Attitude, system: int, component: int, boot_ms: int) -> Any:
    """The message; one of orientation and rates is given."""
    if attitude.orientation is not None:
        x, y, z, w = attitude_to_enu(attitude.orientation)
        mask, quaternion, rates = IGNORE_RATES, (w, x, y, z), (0.0, 0.0, 0.0)
    else:
        mask, quaternion = IGNORE_ATTITUDE, (1.0, 0.0, 0.0, 0.0)
        rates = body_to_flu(attitude.rates or (0.0, 0.0, 0.0))
    return mavlink.MAVLink_set_attitude_target_message(
        boot_ms & 0xFFFF_FFFF, system, component, mask, quaternion, *rates, attitude.thrust
    )
