"""Reading fields out of XCDR1 bytes by offset, without decoding the message.

Layout (OMG DDSI-RTPS 2.3 §10, XCDR1 plain): a 4-byte encapsulation header whose second byte is
1 for little endian, then the fields; each primitive is aligned to its own size *counted from the
end of that header*; a string is a ``uint32`` length that includes the terminating NUL, then the
bytes; a sequence is a ``uint32`` count, then the elements.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import WireError

ENCAPSULATION_BYTES = 4


class CompressedImageView(NamedTuple):
    """Where the picture lies in a serialised ``sensor_msgs/msg/CompressedImage``."""

    stamp_ns: int
    frame_id: str
    format: str
    start: int
    stop: int


def byte_order(payload: bytes) -> str:
    """``<`` or ``>``: the ``struct`` prefix for this payload's byte order."""
    if len(payload) < ENCAPSULATION_BYTES or payload[0] != 0 or payload[1] > 1:
        raise WireError("not_cdr", "no plain CDR encapsulation header")
    return "<" if payload[1] == 1 else ">"


def read_stamp_ns(payload: bytes) -> int:
    """``header.stamp`` of any message whose first field is a ``std_msgs/msg/Header``, in ns."""
    order = byte_order(payload)
    try:
        sec, nanosec = struct.unpack_from(order + "iI", payload, ENCAPSULATION_BYTES)
    except struct.error as error:
        raise WireError("truncated", "no room for a header stamp") from error
    return int(sec) * NS_PER_S + int(nanosec)


def read_compressed_image(payload: bytes) -> CompressedImageView:
    """Locate the picture inside a ``CompressedImage``; ``payload[view.start:view.stop]`` is it.

    Raises ``WireError`` where a length runs past the end, so that garbage never yields a slice.
    """
    order = byte_order(payload)
    stamp_ns = read_stamp_ns(payload)
    frame_id, at = read_string(payload, order, ENCAPSULATION_BYTES + 8)
    fmt, at = read_string(payload, order, align(at, 4))
    count, start = _read_u32(payload, order, align(at, 4))
    if start + count > len(payload):
        raise WireError("truncated", f"data of {count} bytes in a payload of {len(payload)}")
    return CompressedImageView(stamp_ns, frame_id, fmt, start, start + count)


def align(at: int, size: int) -> int:
    """The first offset from ``at`` on where CDR puts a value of ``size`` bytes."""
    return at + (-(at - ENCAPSULATION_BYTES)) % size


def _read_u32(payload: bytes, order: str, at: int) -> tuple[int, int]:
    try:
        (value,) = struct.unpack_from(order + "I", payload, at)
    except struct.error as error:
        raise WireError("truncated", f"no uint32 at offset {at}") from error
    return int(value), at + 4


def read_string(payload: bytes, order: str, at: int) -> tuple[str, int]:
    """The string at offset ``at`` (a multiple of 4) and where it ends; raises ``WireError``."""
    length, at = _read_u32(payload, order, at)
    stop = at + length
    if length == 0 or stop > len(payload):
        raise WireError("truncated", f"string of {length} bytes at offset {at}")
    return payload[at : stop - 1].decode("utf-8", "replace"), stop
