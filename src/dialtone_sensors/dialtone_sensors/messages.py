"""The camera's two messages as CDR bytes, without building Python messages.

rclpy copies a picture through Python objects and converts it once more in C; a publisher that is
given bytes sends them as they are. Layout as in ``dialtone_core.cdr``: XCDR1, little endian.
"""

from __future__ import annotations

import struct

from dialtone_core.cdr import ENCAPSULATION_BYTES
from dialtone_core.clock import NS_PER_S

_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
_STAMP = struct.Struct("<iI")
_U32 = struct.Struct("<I")


class CompressedImageEncoder:
    """``sensor_msgs/msg/CompressedImage`` with a fixed frame and format."""

    def __init__(self, frame_id: str, image_format: str = "jpeg") -> None:
        body = _string(_string(bytes(_STAMP.size), frame_id), image_format)
        self._middle = _pad(body, 4)[_STAMP.size :]

    def encode(self, stamp_ns: int, picture: bytes) -> bytes:
        """The serialised message; one copy of ``picture``."""
        return b"".join(
            (
                _LITTLE_ENDIAN,
                _stamp(stamp_ns),
                self._middle,
                _U32.pack(len(picture)),
                picture,
            )
        )


def restamp(payload: bytes, stamp_ns: int) -> bytes:
    """A serialised message that starts with a Header, with another ``header.stamp``."""
    start = ENCAPSULATION_BYTES
    return payload[:start] + _stamp(stamp_ns) + payload[start + _STAMP.size :]


def _stamp(stamp_ns: int) -> bytes:
    return _STAMP.pack(*divmod(stamp_ns, NS_PER_S))


def _string(body: bytes, text: str) -> bytes:
    """``body`` (counted from the end of the encapsulation header) with a string behind it."""
    encoded = text.encode() + b"\x00"
    return _pad(body, 4) + _U32.pack(len(encoded)) + encoded


def _pad(body: bytes, size: int) -> bytes:
    return body + bytes(-len(body) % size)
