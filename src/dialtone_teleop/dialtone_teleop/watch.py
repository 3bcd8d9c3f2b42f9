"""What the vehicle and the link say against driving: tilt, battery, fence, latency.

Each is off at its parameter's 0 (or ``none``). One that is on and whose quantity is not known
refuses by name (``…_unknown``): it fails closed. Pure; not thread-safe.
"""

from __future__ import annotations

import math

from dialtone_core.command import Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import FenceParams, LinkParams, SafetyParams

#: A battery that rested shows more than one that drove: so much above the floor frees it again.
_RECOVERED = 0.03
#: Each command without new delay takes this share off the delay that slows the robot.
_DECAY = 0.1


class Watch:
    """The vehicle's own state, judged. Remembers only a battery that was too low."""

    def __init__(self, params: SafetyParams) -> None:
        self._tilt_rad = math.radians(params.tilt_deg)
        self._floor = params.battery_floor
        self._low = False

    def refuse(self, vehicle: VehicleState) -> str:
        """``tilt``, ``tilt_unknown``, ``battery_low``, ``battery_unknown``, or ""."""
        return self._tilted(vehicle) or self._empty(vehicle)

    def _tilted(self, vehicle: VehicleState) -> str:
        if not self._tilt_rad:
            return ""
        if vehicle.roll is None or vehicle.pitch is None:
            return "tilt_unknown"
        # The angle between the vehicle's up and the world's.
        upright = math.cos(vehicle.roll) * math.cos(vehicle.pitch)
        return "" if upright >= math.cos(self._tilt_rad) else "tilt"

    def _empty(self, vehicle: VehicleState) -> str:
        if not self._floor:
            return ""
        if vehicle.battery is None or math.isnan(vehicle.battery):
            return "battery_unknown"
        self._low = vehicle.battery < self._floor + (_RECOVERED if self._low else 0.0)
        return "battery_low" if self._low else ""


class Fence:
    """An area in ``odom`` that may not be left. Outside, only the way back in is open."""

    def __init__(self, params: FenceParams) -> None:
        self._params = params

    def hold(self, twist: Twist, vehicle: VehicleState) -> tuple[Twist, str]:
        """``twist``, without its translation where that leads out: (twist, reason).

        ``geofence`` for the way out, ``position_unknown`` where there is no position or heading.
        """
        params = self._params
        if params.shape == "none" or not (twist.x or twist.y):
            return twist, ""
        standing = Twist(z=twist.z, roll=twist.roll, pitch=twist.pitch, yaw=twist.yaw)
        if vehicle.x is None or vehicle.y is None or vehicle.yaw is None:
            return standing, "position_unknown"
        c, s = math.cos(vehicle.yaw), math.sin(vehicle.yaw)
        ahead_x = vehicle.x + params.ahead_s * (c * twist.x - s * twist.y)
        ahead_y = vehicle.y + params.ahead_s * (s * twist.x + c * twist.y)
        then = self._outside(ahead_x, ahead_y)
        if then > 0 and then > self._outside(vehicle.x, vehicle.y):
            return standing, "geofence"
        return twist, ""

    def _outside(self, x: float, y: float) -> float:
        """How far (m) outside a point lies; 0 or less inside."""
        params = self._params
        dx, dy = x - params.x, y - params.y
        if params.shape == "circle":
            return math.hypot(dx, dy) - params.radius_m
        beyond_x, beyond_y = abs(dx) - params.half_x_m, abs(dy) - params.half_y_m
        if beyond_x > 0 and beyond_y > 0:
            return math.hypot(beyond_x, beyond_y)
        return max(beyond_x, beyond_y)


class LinkQuality:
    """How much of its speed a robot keeps on a slow link. A rise in delay counts at once."""

    def __init__(self, params: LinkParams, max_delay_s: float) -> None:
        self._from_ms = params.slow_from_ms
        self._to_ms = max(max_delay_s * 1000, self._from_ms + 1)
        self._least = params.slow_to
        self.delay_ms = 0.0

    def scale(self, delay_ns: int | None) -> float:
        """The share of the speed limits at this delay of the command; ``None``: not measured."""
        if not self._from_ms or delay_ns is None:
            return 1.0
        eased_ms = self.delay_ms * (1 - _DECAY)
        self.delay_ms = max(delay_ns / 1e6, eased_ms)
        share = (self.delay_ms - self._from_ms) / (self._to_ms - self._from_ms)
        return 1.0 - min(max(share, 0.0), 1.0) * (1.0 - self._least)
