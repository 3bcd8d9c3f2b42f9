"""What may go to the vehicle: pure checks and limits, each with a named reason.

A check sees the command and the vehicle and answers with a reason or nothing; the limiter changes
the twist and names each axis that it touched. Nothing here knows ROS, threads or wire formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from dialtone_core.command import STOP, Command, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import LimitParams

#: A ramp step never spans more time than this: after a pause the first step must not be a leap.
LONGEST_STEP_NS = 100_000_000


def refuse_malformed(command: Command) -> str:
    """``not_finite`` for NaN and Inf, ``bad_envelope`` for a negative seq or ttl."""
    if not command.twist.is_finite():
        return "not_finite"
    envelope = command.envelope
    if len(envelope.operator) > 64 or (envelope.seq is not None and envelope.seq < 0):
        return "bad_envelope"
    return ""


def refuse_not_ready(vehicle: VehicleState) -> str:
    """Why the vehicle cannot be driven now (``link_lost``, ``not_armed``, …), or ""."""
    return "" if vehicle.ready else vehicle.reason or "not_ready"


@dataclass(frozen=True, slots=True)
class Limited:
    """A twist within limits and the tokens of what was changed (``limit_x``, ``ramp_yaw``, …)."""

    twist: Twist
    reasons: tuple[str, ...]


class Limiter:
    """Speed limits and ramps. Remembers what was last sent, and when (monotonic ns).

    An explicit stop (all axes zero) passes unramped: stopping is never slowed. A change of
    direction ends at zero first.
    """

    def __init__(self, limits: LimitParams) -> None:
        self._speed = (limits.x_mps, limits.y_mps, limits.z_mps, 0.0, 0.0, limits.yaw_rps)
        linear = (limits.accel_mps2, limits.decel_mps2)
        turn = (limits.yaw_accel_rps2, limits.yaw_decel_rps2)
        self._ramp = (linear, linear, linear, turn, turn, turn)
        self._last = STOP.as_tuple()
        self._last_ns: int | None = None

    def limit(self, twist: Twist, now_ns: int, scale: float = 1.0) -> Limited:
        """Bring ``twist`` within the limits (speeds × ``scale``). Does not remember it."""
        if twist.is_zero():
            return Limited(STOP, ())
        step_ns = LONGEST_STEP_NS if self._last_ns is None else now_ns - self._last_ns
        step_s = max(0, min(step_ns, LONGEST_STEP_NS)) / 1e9
        values: list[float] = []
        reasons: list[str] = []
        for axis, wanted in enumerate(twist.as_tuple()):
            bound = self._speed[axis] * scale
            held = min(max(wanted, -bound), bound)
            if held != wanted:
                reasons.append(f"limit_{_AXES[axis]}")
            value = _ramp(self._last[axis], held, *self._ramp[axis], step_s)
            if value != held:
                # The bound may have shrunk below what was last sent; it wins over the ramp.
                value = min(max(value, -bound), bound)
                reasons.append(f"ramp_{_AXES[axis]}")
            values.append(value)
        return Limited(Twist(*values), tuple(reasons))

    def sent(self, twist: Twist, now_ns: int) -> None:
        """``twist`` went out: the next ramp starts from it."""
        self._last = twist.as_tuple()
        self._last_ns = now_ns


_AXES = ("x", "y", "z", "roll", "pitch", "yaw")


def _ramp(last: float, wanted: float, accel: float, decel: float, step_s: float) -> float:
    if last * wanted < 0:
        wanted = 0.0
    slowing = abs(wanted) < abs(last)
    step = (decel if slowing else accel) * step_s
    return min(max(wanted, last - step), last + step)
