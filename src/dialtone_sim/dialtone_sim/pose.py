"""The pose that the vehicle tells its cameras: one small datagram.

Little endian: magic ``DTP1``, four bytes of padding, CLOCK_MONOTONIC ns of the sender (uint64),
then doubles: x, y (m, frame ``odom``: east, north), yaw (rad, counter-clockwise from east), speed
(m/s along the nose) and yaw rate (rad/s).
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from dialtone_core.errors import WireError

_LAYOUT = struct.Struct("<4s4xQ5d")
_MAGIC = b"DTP1"

#: Older than this a pose is not extrapolated: the vehicle is gone, not late.
MAX_EXTRAPOLATION_NS = 200_000_000


class Pose(NamedTuple):
    """``base_link`` in ``odom`` (REP 103, REP 105) at ``monotonic_ns`` of the sender's machine."""

    monotonic_ns: int = 0
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    yaw_rate: float = 0.0

    def encode(self) -> bytes:
        return _LAYOUT.pack(_MAGIC, *self)

    def at(self, monotonic_ns: int) -> Pose:
        """The pose moved on to ``monotonic_ns``, where that is a little later; else itself."""
        ahead_ns = monotonic_ns - self.monotonic_ns
        if not 0 < ahead_ns <= MAX_EXTRAPOLATION_NS:
            return self
        ahead_s = ahead_ns / 1e9
        middle = self.yaw + self.yaw_rate * ahead_s / 2
        return self._replace(
            monotonic_ns=monotonic_ns,
            x=self.x + self.speed * ahead_s * math.cos(middle),
            y=self.y + self.speed * ahead_s * math.sin(middle),
            yaw=self.yaw + self.yaw_rate * ahead_s,
        )


def decode_pose(datagram: bytes) -> Pose:
    """A ``Pose``; raises ``WireError`` for anything that is not one, or is not finite."""
    if len(datagram) != _LAYOUT.size or not datagram.startswith(_MAGIC):
        raise WireError("not_a_pose", f"{len(datagram)} bytes")
    _, monotonic_ns, *numbers = _LAYOUT.unpack(datagram)
    if not all(map(math.isfinite, numbers)):
        raise WireError("not_finite", "pose")
    return Pose(monotonic_ns, *numbers)
