"""The few ROS messages that the gateway looks into, read from their CDR bytes.

Layout: see ``dialtone_core.cdr``. Message definitions: sensor_msgs/msg/CameraInfo (header, height,
width, …) and diagnostic_msgs/msg/DiagnosticArray (header, status[]: level, name, message,
hardware_id, values[]: key, value). A wrong length raises ``WireError``, never a huge allocation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from dialtone_core.cdr import ENCAPSULATION_BYTES, byte_order
from dialtone_core.errors import WireError

_MOST_STATUSES, _MOST_VALUES = 512, 1024


class _Reader:
    """Reads primitives one after another."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._order = byte_order(payload)
        self._at = ENCAPSULATION_BYTES

    def u8(self) -> int:
        if self._at >= len(self._payload):
            raise WireError("truncated", f"no byte at offset {self._at}")
        self._at += 1
        return self._payload[self._at - 1]

    def u32(self) -> int:
        self._at += -(self._at - ENCAPSULATION_BYTES) % 4
        try:
            (value,) = struct.unpack_from(self._order + "I", self._payload, self._at)
        except struct.error as error:
            raise WireError("truncated", f"no uint32 at offset {self._at}") from error
        self._at += 4
        return int(value)

    def count(self, most: int) -> int:
        value = self.u32()
        if value > most:
            raise WireError("too_many", f"a sequence of {value}, at most {most}")
        return value

    def string(self) -> str:
        length = self.u32()
        stop = self._at + length
        if stop > len(self._payload):
            raise WireError("truncated", f"string of {length} bytes at offset {self._at}")
        text = self._payload[self._at : max(self._at, stop - 1)].decode("utf-8", "replace")
        self._at = stop
        return text

    def header(self) -> None:
        """std_msgs/msg/Header: stamp (two 32-bit words), frame_id."""
        self.u32()
        self.u32()
        self.string()


@dataclass(frozen=True, slots=True)
class Status:
    """One diagnostic_msgs/msg/DiagnosticStatus."""

    level: int
    name: str
    message: str
    values: dict[str, str] = field(default_factory=dict)


def read_camera_size(payload: bytes) -> tuple[int, int]:
    """(width, height) in pixels of a CameraInfo."""
    reader = _Reader(payload)
    reader.header()
    height, width = reader.u32(), reader.u32()
    return width, height


def read_diagnostics(payload: bytes) -> list[Status]:
    """The statuses of a DiagnosticArray."""
    reader = _Reader(payload)
    reader.header()
    return [_status(reader) for _ in range(reader.count(_MOST_STATUSES))]


def _status(reader: _Reader) -> Status:
    level, name, message, _ = reader.u8(), reader.string(), reader.string(), reader.string()
    pairs = ((reader.string(), reader.string()) for _ in range(reader.count(_MOST_VALUES)))
    return Status(level, name, message, dict(pairs))
