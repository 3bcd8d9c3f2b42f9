"""Attitude and body rates with thrust: what may go out of such a command. Pure.

A wish beyond the permitted tilt is refused and not bent: a quaternion clamped on one axis points
somewhere nobody asked for. Rates and thrust are clamped. With a geofence nothing of it passes,
because where an attitude leads cannot be told beforehand.
"""

from __future__ import annotations

import math
from dataclasses import replace

from dialtone_core.command import Attitude
from dialtone_teleop.params import AttitudeParams

_UNIT_TOLERANCE = 0.01


class AttitudeLimits:
    """Checks first, limits after; both without memory."""

    def __init__(self, params: AttitudeParams, fenced: bool) -> None:
        self._params = params
        self._fenced = fenced
        self._least_upright = math.cos(math.radians(params.tilt_deg))

    def refuse(self, attitude: Attitude | None) -> str:
        """``attitude_off``, ``not_finite``, ``not_unit``, ``limit_tilt``, ``geofence``, or ""."""
        if attitude is None:
            return ""
        if not self._params.thrust:
            return "attitude_off"
        if not attitude.is_finite():
            return "not_finite"
        if self._fenced:
            return "geofence"
        if attitude.orientation is None:
            return ""
        x, y, z, w = attitude.orientation
        if abs(math.sqrt(x * x + y * y + z * z + w * w) - 1) > _UNIT_TOLERANCE:
            return "not_unit"
        upright = 1 - 2 * (x * x + y * y)
        return "" if upright >= self._least_upright else "limit_tilt"

    def limit(self, attitude: Attitude, scale: float) -> tuple[Attitude, tuple[str, ...]]:
        """``attitude`` within the limits, and what was changed; ``scale`` shrinks the rates."""
        reasons: list[str] = []
        thrust = min(max(attitude.thrust, -self._params.thrust), self._params.thrust)
        if thrust != attitude.thrust:
            reasons.append("limit_thrust")
        rates = attitude.rates
        if rates is not None:
            bound = self._params.rates_rps * scale
            held = tuple(min(max(rate, -bound), bound) for rate in rates)
            if held != rates:
                reasons.append("limit_rates")
            rates = (held[0], held[1], held[2])
        return replace(attitude, thrust=thrust, rates=rates), tuple(reasons)
