"""What a Foxglove server says and hears, as bytes. Pure.

Source: the Foxglove WebSocket protocol v1 (github.com/foxglove/ws-protocol, docs/spec.md), which
the subprotocol ``foxglove.sdk.v1`` kept: JSON texts by ``op``, little-endian binary messages by
their first byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

SUBPROTOCOLS = ("foxglove.sdk.v1", "foxglove.websocket.v1")
MESSAGE_HEAD_BYTES = 13
_MESSAGE = struct.Struct("<BIQ")
_TIME = struct.Struct("<BQ")
_CALL = struct.Struct("<III")
_U32 = struct.Struct("<I")
_SMALL, _MIDDLE, _LARGE = struct.Struct(">BB"), struct.Struct(">BBH"), struct.Struct(">BBQ")
_BINARY, _TEXT = 0x82, 0x81
#: A message in pieces begins without the bit that ends it, and goes on as a continuation.
_BEGIN, _END = 0x02, 0x80
_PIECE = 64 * 1024


class Level(IntEnum):
    """Of a status message."""

    INFO = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """A client's call; ``encoding`` is that of ``payload`` and of the answer."""

    service: int
    call: int
    encoding: str
    payload: bytes


def frame_head(opcode: int, size: int) -> bytes:
    """Head of an unmasked, unfragmented frame (RFC 6455 §5.2), as servers send them."""
    if size < 126:
        return _SMALL.pack(opcode, size)
    if size < 65536:
        return _MIDDLE.pack(opcode, 126, size)
    return _LARGE.pack(opcode, 127, size)


def message_head(subscription: int, log_ns: int, size: int) -> bytes:
    """What stands before the ``size`` bytes of a message on the wire; log time is Unix ns."""
    head = frame_head(_BINARY, size + MESSAGE_HEAD_BYTES)
    return head + _MESSAGE.pack(1, subscription, log_ns)


def text(message: Mapping[str, Any]) -> bytes:
    """A JSON operation as one frame."""
    body = orjson.dumps(message)
    return frame_head(_TEXT, len(body)) + body


def binary(body: bytes) -> bytes:
    return frame_head(_BINARY, len(body)) + body


def server_info(name: str, capabilities: Sequence[str], session: str, distro: str) -> bytes:
    """Panels publish in the first encoding that they know: in CDR they follow the schema, while
    their JSON is that of ROS 1. Without ``ROS_DISTRO`` the 3D panel publishes nothing, and others
    take ROS 1's schemas."""
    return text(
        {
            "op": "serverInfo",
            "name": name,
            "capabilities": list(capabilities),
            "supportedEncodings": ["cdr", "json"],
            "metadata": {"ROS_DISTRO": distro} if distro else {},
            "sessionId": session,
        }
    )


def status(level: Level, message: str, key: str = "") -> bytes:
    """A status; one with the same ``key`` replaces it, ``remove_status`` takes it back."""
    body: dict[str, Any] = {"op": "status", "level": int(level), "message": message}
    return text(body | ({"id": key} if key else {}))


def remove_status(keys: Iterable[str]) -> bytes:
    return text({"op": "removeStatus", "statusIds": list(keys)})


def time_message(now_ns: int) -> bytes:
    """The server's clock (sim time), ns."""
    return binary(_TIME.pack(2, now_ns))


def call_answer(call: ServiceCall, payload: bytes) -> bytes:
    encoding = call.encoding.encode()
    head = _CALL.pack(call.service, call.call, len(encoding))
    return binary(b"\x03" + head + encoding + payload)


def call_failure(call: ServiceCall, why: str) -> bytes:
    return text(
        {
            "op": "serviceCallFailure",
            "serviceId": call.service,
            "callId": call.call,
            "message": why,
        }
    )


def asset_frames(request: int, data: bytes) -> Iterator[bytes]:
    """A file that was fetched, one message in frames of at most ``_PIECE`` bytes of it."""
    body = b"\x04" + _U32.pack(request) + b"\x00" + _U32.pack(0)
    view, last = memoryview(data), max(0, len(data) - 1) // _PIECE
    for number in range(last + 1):
        opcode = (0 if number else _BEGIN) | (_END if number == last else 0)
        body += view[number * _PIECE : (number + 1) * _PIECE]
        yield frame_head(opcode, len(body)) + body
        body = b""


def asset_failure(request: int, why: str) -> bytes:
    reason = why.encode()
    return binary(b"\x04" + _U32.pack(request) + b"\x01" + _U32.pack(len(reason)) + reason)


def read_call(body: bytes) -> ServiceCall:
    """A service call behind its op byte; raises ``ValueError`` where its ids are cut short. An
    encoding that is none stays one, so that the call can be refused by its ids."""
    if len(body) < _CALL.size:
        raise ValueError("a service call that is cut short")
    service, call, length = _CALL.unpack_from(body)
    stop = _CALL.size + length
    encoding = body[_CALL.size : stop].decode("utf-8", "replace")
    return ServiceCall(service, call, encoding, body[stop:])


def read_publish(body: bytes) -> tuple[int, bytes]:
    """Channel and payload behind the op byte; raises ``ValueError`` where it is cut short."""
    if len(body) < _U32.size:
        raise ValueError("a message that is cut short")
    return _U32.unpack_from(body)[0], body[_U32.size :]
