"""The neck as joints: names, units, and both ways between them and the firmware's fields. Pure.

``neck_x`` … ``neck_p`` are the firmware's X, Y, Z, R, P: tenths of a degree there, rad here.
``neck_height`` is H and ``neck_actuator_1`` … ``_6`` are the lengths: mm there, m here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dialtone_core.errors import WireError
from dialtone_teleop.neck_protocol import (
    ACTUATORS,
    ANGLE_LIMIT,
    HEIGHT_LIMIT_MM,
    Actuators,
    Head,
    Pose,
)

_ANGLES = ("x", "y", "z", "r", "p")
_TENTHS = 1800 / math.pi
_LENGTHS = {f"neck_actuator_{number}": number for number in ACTUATORS}


def to_command(positions: Mapping[str, float]) -> Actuators | Pose:
    """Targets → a command; raises ``WireError``: names that are unknown or of both kinds, numbers
    that are not finite or out of range."""
    for name, value in positions.items():
        if not math.isfinite(value):
            raise WireError("not_finite", name[:40])
    if not positions:
        raise WireError("empty", "no joint")
    if set(positions) <= set(_LENGTHS):
        return Actuators({_LENGTHS[name]: _whole(v * 1000) for name, v in positions.items()})
    fields: dict[str, float] = {}
    for name, value in positions.items():
        if name == "neck_height":
            fields["H"] = _within(name, _whole(value * 1000), 0, HEIGHT_LIMIT_MM)
        elif name.startswith("neck_") and name[5:] in _ANGLES:
            tenths = _whole(value * _TENTHS)
            fields[name[5:].upper()] = _within(name, tenths, -ANGLE_LIMIT, ANGLE_LIMIT)
        else:
            raise WireError("unknown_field", name[:40])
    return Pose(fields)


def to_joints(head: Head) -> dict[str, float]:
    """What is known of the joints after ``head`` was told: targets, for the firmware tells no
    positions. After a ``Q:`` line only the height is known."""
    if head.lengths:
        return {f"neck_actuator_{number}": mm / 1000 for number, mm in head.lengths.items()}
    joints = {"neck_height": head.height_mm / 1000}
    if head.wxyz is None:
        for name, tenths in zip(_ANGLES, head.angles, strict=True):
            joints[f"neck_{name}"] = tenths / _TENTHS
    return joints


def _whole(value: float) -> int:
    return round(min(max(value, -1e6), 1e6))


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise WireError("out_of_range", name)
    return value
