"""One picture on its way to viewers, and the bytes that every viewer of it shares."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from dialtone_core import wire
from dialtone_core.cdr import read_compressed_image
from dialtone_core.errors import WireError

BOUNDARY = "dialtone"
#: u8 version, u8 kind, u16 reserved, u32 seq, u64 capture_ns, u64 sent_ns; little-endian.
SOCKET_HEADER = struct.Struct("<BBHIQQ")
VERSION, KIND_JPEG = 1, 0


@dataclass(slots=True)
class Frame:
    """``capture_ns`` is the picture's own stamp (Unix epoch), ``received_ns`` monotonic."""

    seq: int
    capture_ns: int
    received_ns: int
    jpeg: bytes
    _part: bytes = field(default=b"", repr=False)

    @property
    def part(self) -> bytes:
        """The picture as a part of a multipart stream; made once for all viewers."""
        if not self._part:
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.jpeg)}\r\n"
                f"X-Stamp-Ns: {self.capture_ns}\r\nX-Seq: {self.seq}\r\n\r\n"
            )
            self._part = b"".join((head.encode(), self.jpeg, b"\r\n"))
        return self._part

    def message(self, sent_ns: int) -> bytes:
        """The picture as a message of the WebSocket path."""
        head = SOCKET_HEADER.pack(
            VERSION, KIND_JPEG, 0, self.seq & 0xFFFFFFFF, self.capture_ns, sent_ns
        )
        return head + self.jpeg


def read_frame(payload: bytes, headers: dict[str, Any], seq: int, received_ns: int) -> Frame:
    """A message of a camera's subject as a ``Frame``; raises ``WireError``: ``not_jpeg``."""
    stamp = headers.get(wire.STAMP_NS, "0")
    capture_ns = int(stamp) if stamp.isdigit() and len(stamp) < 20 else 0
    told = headers.get(wire.SEQ, "")
    seq = int(told) if told.isdigit() and len(told) < 20 else seq
    if headers.get(wire.ENCODING, "jpeg") == "cdr":
        view = read_compressed_image(payload)
        capture_ns = view.stamp_ns
        payload = payload[view.start : view.stop]
    if not payload.startswith(b"\xff\xd8"):
        raise WireError("not_jpeg", "the camera does not send JPEG")
    return Frame(seq, capture_ns, received_ns, payload)
