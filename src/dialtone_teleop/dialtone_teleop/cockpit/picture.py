"""What an operator sees of a robot, out of the CDR bytes and JSON that it sends. Pure."""

from __future__ import annotations

import math
import struct
from typing import Any

from dialtone_core.cdr import ENCAPSULATION_BYTES, byte_order
from dialtone_core.errors import WireError

_SIZES = {"B": 1, "i": 4, "I": 4, "f": 4, "d": 8}
_COVARIANCE = 36


class _Cursor:
    """Reads XCDR1 fields in order (see ``dialtone_core.cdr`` for the layout)."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._order = byte_order(payload)
        self._at = ENCAPSULATION_BYTES

    def take(self, kind: str, count: int = 1) -> tuple[Any, ...]:
        size = _SIZES[kind]
        self._at += -(self._at - ENCAPSULATION_BYTES) % size
        try:
            values = struct.unpack_from(f"{self._order}{count}{kind}", self._payload, self._at)
        except struct.error as error:
            raise WireError("truncated") from error
        self._at += size * count
        return values

    def text(self) -> str:
        (length,) = self.take("I")
        raw = self._payload[self._at : self._at + length]
        if len(raw) != length:
            raise WireError("truncated")
        self._at += length
        return raw.rstrip(b"\0").decode("utf-8", "replace")

    def header(self) -> None:
        self.take("i")
        self.take("I")
        self.text()


def odometry_speed(payload: bytes) -> tuple[float, float]:
    """(forward m/s, turn rad/s) of a nav_msgs/Odometry; raises ``WireError``."""
    cursor = _Cursor(payload)
    cursor.header()
    cursor.text()
    cursor.take("d", 7 + _COVARIANCE)
    twist = cursor.take("d", 6)
    return twist[0], twist[5]


def battery_share(payload: bytes) -> float | None:
    """0..1 of a sensor_msgs/BatteryState, ``None`` where not told; raises ``WireError``."""
    cursor = _Cursor(payload)
    cursor.header()
    share = float(cursor.take("f", 7)[6])
    return None if math.isnan(share) else share


def string_data(payload: bytes) -> str:
    """The text of a std_msgs/String; raises ``WireError``."""
    return _Cursor(payload).text()


def diagnostic_values(payload: bytes) -> dict[str, str]:
    """The values of a diagnostic_msgs/DiagnosticStatus by key; raises ``WireError``."""
    cursor = _Cursor(payload)
    cursor.take("B")
    for _ in range(3):
        cursor.text()
    (count,) = cursor.take("I")
    if count > 1000:
        raise WireError("too_many")
    return {cursor.text(): cursor.text() for _ in range(count)}
