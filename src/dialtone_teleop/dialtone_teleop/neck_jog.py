"""Rates to small steps of a head that only knows positions. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from dialtone_core.clock import NS_PER_S
from dialtone_core.command import Twist
from dialtone_teleop.neck_protocol import HEIGHT_LIMIT_MM, Head, Wxyz, limit_tilt

#: A step never spans more time than this (ns): after a pause the head must not leap.
LONGEST_STEP_NS = 100_000_000


class Jog:
    """Integrates twists into attitude and height, from where the head was last told to be.

    Height moves in whole mm, so what is left of one is carried to the next step.
    """

    def __init__(self, max_tilt_rad: float) -> None:
        self._max_tilt_rad = max_tilt_rad
        self._last_ns: int | None = None
        self._height_mm: float | None = None

    def rest(self) -> None:
        """Twists have ended."""
        self._last_ns = None
        self._height_mm = None

    def step(self, head: Head, twist: Twist, now_ns: int) -> Head:
        """``head`` after ``twist`` for as long as since the last step; the first only starts."""
        last_ns, self._last_ns = self._last_ns, now_ns
        if last_ns is None:
            return head
        step_s = min(max(now_ns - last_ns, 0), LONGEST_STEP_NS) / NS_PER_S
        height = self._height_mm if self._height_mm is not None else float(head.height_mm)
        self._height_mm = min(max(height + twist.z * step_s * 1000, 0.0), HEIGHT_LIMIT_MM)
        turn = (twist.roll * step_s, twist.pitch * step_s, twist.yaw * step_s)
        attitude = limit_tilt(_turned(_attitude(head), turn), self._max_tilt_rad)
        return replace(
            head,
            wxyz=attitude,
            angles=(0, 0, 0, 0, 0),
            lengths={},
            height_mm=round(self._height_mm),
        )


def _attitude(head: Head) -> Wxyz:
    """A pose told in angles or lengths is left from upright: the firmware tells no attitude."""
    return head.wxyz if head.wxyz is not None else (1.0, 0.0, 0.0, 0.0)


def _turned(q: Wxyz, turn: tuple[float, float, float]) -> Wxyz:
    """``q`` turned further by a rotation vector (rad) in the head's own frame."""
    angle = math.sqrt(sum(each * each for each in turn))
    if angle < 1e-12:
        return q
    k = math.sin(angle / 2) / angle
    w, x, y, z = math.cos(angle / 2), turn[0] * k, turn[1] * k, turn[2] * k
    a, b, c, d = q
    return (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )
