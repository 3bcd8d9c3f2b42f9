"""How the rover moves: a planar unicycle with acceleration limits and a motor lag.

World frame: north, east (m). Yaw is a compass angle (rad, clockwise from north), as in MAVLink.
A target ramps at the acceleration limit; the motors follow the ramp with a first-order lag. Both
are solved exactly over a step, so results do not depend on the step's length, and the speed's
slope, a running average of the ramp's slope, never exceeds the limit either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """m/s, m/s², rad/s, rad/s², s. ``motor_lag_s`` 0 is a motor without lag."""

    max_speed: float
    accel: float
    decel: float
    max_yaw_rate: float
    yaw_accel: float
    motor_lag_s: float


@dataclass(frozen=True, slots=True)
class Axis:
    """One driven quantity: ``ramp`` is what the motor is told, ``value`` what it does."""

    ramp: float = 0.0
    value: float = 0.0

    def stepped(self, target: float, up: float, down: float, lag_s: float, dt: float) -> Axis:
        """After ``dt`` seconds; slopes ``up`` away from 0, ``down`` back to it."""
        ramp, value = self.ramp, self.value
        for slope, duration in _segments(ramp, target, up, down, dt):
            end = ramp + slope * duration
            if lag_s > 0:
                # Solution of lag·v' + v = ramp + slope·t.
                behind = value - ramp + slope * lag_s
                value = end - slope * lag_s + behind * math.exp(-duration / lag_s)
            else:
                value = end
            ramp = end
        return Axis(ramp, value)


@dataclass(frozen=True, slots=True)
class State:
    """Where the rover is and how it moves. ``speed`` is along its nose, negative in reverse."""

    north: float = 0.0
    east: float = 0.0
    yaw: float = 0.0
    drive: Axis = Axis()
    turn: Axis = Axis()
    accel: float = 0.0

    @property
    def speed(self) -> float:
        return self.drive.value

    @property
    def yaw_rate(self) -> float:
        return self.turn.value


def step(state: State, speed: float, yaw_rate: float, limits: Limits, dt: float) -> State:
    """``state`` after ``dt`` seconds (≥ 0) of driving towards ``speed`` and ``yaw_rate``."""
    if dt <= 0:
        return state
    speed = _clamp(speed, limits.max_speed)
    yaw_rate = _clamp(yaw_rate, limits.max_yaw_rate)
    lag = limits.motor_lag_s
    drive = state.drive.stepped(speed, limits.accel, limits.decel, lag, dt)
    turn = state.turn.stepped(yaw_rate, limits.yaw_accel, limits.yaw_accel, lag, dt)
    distance = (state.speed + drive.value) / 2 * dt
    turned = (state.yaw_rate + turn.value) / 2 * dt
    middle = state.yaw + turned / 2
    return replace(
        state,
        north=state.north + distance * math.cos(middle),
        east=state.east + distance * math.sin(middle),
        yaw=wrap(state.yaw + turned),
        drive=drive,
        turn=turn,
        accel=(drive.value - state.speed) / dt,
    )


def wrap(angle: float) -> float:
    """``angle`` in (−π, π]."""
    wrapped = math.remainder(angle, math.tau)
    return math.pi if wrapped == -math.pi else wrapped


def _clamp(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def _segments(
    ramp: float, target: float, up: float, down: float, dt: float
) -> Iterator[tuple[float, float]]:
    """(slope, duration) pieces that add up to ``dt``: slow down, speed up, hold."""
    if ramp * target < 0 or abs(target) < abs(ramp):
        goal = target if ramp * target > 0 else 0.0
        duration = min(abs(goal - ramp) / down, dt)
        yield math.copysign(down, goal - ramp), duration
        dt -= duration
        ramp = goal
    if dt > 0 and ramp != target:
        duration = min(abs(target - ramp) / up, dt)
        yield math.copysign(up, target - ramp), duration
        dt -= duration
    if dt > 0:
        yield 0.0, dt
