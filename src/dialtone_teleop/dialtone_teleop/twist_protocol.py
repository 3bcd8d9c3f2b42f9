"""Twists for a microcontroller, as bytes: newline JSON, or COBS frames with a CRC. Pure.

JSON, one object a line:
    → ``{"seq":7,"ttl_ms":300,"x":0.4,"y":0,"z":0,"yaw":0.1}``
    ← ``{"seq":7,"flags":0,"x":0.39,"yaw":0.1,"battery":0.8}``
CRC frame, ended by one 0x00: COBS of (body + CRC-16/XMODEM of it, little-endian). The body:
    → ``<BHH4f``: 0x01, seq, ttl_ms, x, y, z, yaw
    ← ``<BHB3f``: 0x02, seq, flags, x, yaw, battery
Units m/s, rad/s, ms; battery 0..1 or NaN; seq counts modulo 65536; flags: see ``Status``.
The watchdog that the other end must have is in docs/twist_serial.md.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import orjson
from cobs import cobs
from fastcrc import crc16

from dialtone_core.command import Twist
from dialtone_core.errors import WireError

SEQ_MODULUS = 65536
WATCHDOG_TRIPPED, FAULT = 1, 2
#: A line or frame that is longer is noise.
MAX_FRAME_BYTES = 256
_TWIST, _STATUS = 0x01, 0x02
_TWIST_BODY = struct.Struct("<BHH4f")
_STATUS_BODY = struct.Struct("<BHB3f")


@dataclass(frozen=True, slots=True)
class Status:
    """What the microcontroller says of itself.

    ``seq`` is the last twist that it accepted; ``flags`` bit 0: its watchdog has stopped the
    motors, bit 1: a fault keeps it from driving. ``x`` m/s, ``yaw`` rad/s, ``battery`` 0..1; NaN
    is "not measured".
    """

    seq: int
    flags: int
    x: float
    yaw: float
    battery: float

    @property
    def fault(self) -> bool:
        return bool(self.flags & FAULT)


def encode_twist(encoding: str, twist: Twist, seq: int, ttl_ms: int) -> bytes:
    """One whole line or frame; ``encoding`` is ``json`` or ``crc``."""
    if encoding == "crc":
        axes = (twist.x, twist.y, twist.z, twist.yaw)
        return _frame(_TWIST_BODY.pack(_TWIST, seq, ttl_ms, *axes))
    axes_by_name = {"x": twist.x, "y": twist.y, "z": twist.z, "yaw": twist.yaw}
    return orjson.dumps({"seq": seq, "ttl_ms": ttl_ms, **axes_by_name}) + b"\n"


def decode_twist(encoding: str, data: bytes) -> tuple[Twist, int, int]:
    """The other direction, as the microcontroller does it: twist, seq, ttl_ms; ``WireError``."""
    if encoding == "crc":
        _, seq, ttl_ms, *axes = _unpack(_TWIST_BODY, _TWIST, data)
    else:
        found = _object(data)
        seq, ttl_ms = round(_number(found, "seq")), round(_number(found, "ttl_ms"))
        axes = [_number(found, name) for name in ("x", "y", "z", "yaw")]
    if not all(map(math.isfinite, axes)):
        raise WireError("not_finite")
    x, y, z, yaw = axes
    return Twist(x, y, z, 0.0, 0.0, yaw), seq, ttl_ms


def encode_status(encoding: str, status: Status) -> bytes:
    """A status as the microcontroller writes it."""
    figures = (status.x, status.yaw, status.battery)
    if encoding == "crc":
        return _frame(_STATUS_BODY.pack(_STATUS, status.seq, status.flags, *figures))
    names = ("x", "yaw", "battery")
    told = {name: v for name, v in zip(names, figures, strict=True) if math.isfinite(v)}
    return orjson.dumps({"seq": status.seq, "flags": status.flags, **told}) + b"\n"


def decode_status(encoding: str, data: bytes) -> Status:
    """A line or frame without its end; raises ``WireError``: ``not_json``, ``bad_crc``, …"""
    if encoding == "crc":
        _, seq, flags, *figures = _unpack(_STATUS_BODY, _STATUS, data)
    else:
        found = _object(data)
        seq, flags = round(_number(found, "seq")), round(_number(found, "flags", 0.0))
        figures = [_number(found, name, math.nan) for name in ("x", "yaw", "battery")]
    if any(map(math.isinf, figures)):
        raise WireError("not_finite")
    x, yaw, battery = figures
    return Status(seq, flags, x, yaw, battery)


class Splitter:
    """Cuts a byte stream at ``\\n`` (json) or 0x00 (crc); what gets too long is dropped whole."""

    def __init__(self, end: bytes) -> None:
        self._end = end
        self._rest = b""
        self._skipping = False
        self.dropped = 0

    @classmethod
    def of(cls, encoding: str) -> Splitter:
        return cls(b"\0" if encoding == "crc" else b"\n")

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes, without their ends and without empty ones."""
        *whole, self._rest = (self._rest + data).split(self._end)
        if whole and self._skipping:
            whole, self._skipping = whole[1:], False
        if len(self._rest) > MAX_FRAME_BYTES:
            self._rest, self._skipping = b"", True
            self.dropped += 1
        return [each for each in whole if each]


def _frame(body: bytes) -> bytes:
    return bytes(cobs.encode(body + crc16.xmodem(body).to_bytes(2, "little"))) + b"\0"


def _unpack(layout: struct.Struct, kind: int, data: bytes) -> tuple[Any, ...]:
    try:
        raw = bytes(cobs.decode(data))
    except cobs.DecodeError as error:
        raise WireError("bad_cobs", str(error)[:60]) from error
    if len(raw) != layout.size + 2 or raw[0] != kind:
        raise WireError("bad_frame", f"{len(raw)} bytes")
    if crc16.xmodem(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
        raise WireError("bad_crc")
    return layout.unpack(raw[:-2])


def _object(data: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise WireError("not_json", str(error)[:60]) from error
    if not isinstance(found, dict):
        raise WireError("not_object", type(found).__name__)
    return found


def _number(found: dict[str, object], name: str, default: float | None = None) -> float:
    value = found.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError("not_number", name)
    return float(value)
