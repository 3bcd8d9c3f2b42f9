"""Bytes from a terminal → keys, releases and focus. Pure.

Speaks the kitty keyboard protocol (sw.kovidgoyal.net/kitty/keyboard-protocol) where the terminal
does: with flags 1 | 2 | 8 every key comes as ``CSI code;modifiers:event u``, so a release is seen.
Others send plain bytes and xterm's arrows, and say nothing when a key is let go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

#: Disambiguate, report events, report all keys as escape codes; then ask what was granted.
ENABLE = "\x1b[>11u\x1b[?u"
DISABLE = "\x1b[<u"
FOCUS_ON, FOCUS_OFF = "\x1b[?1004h", "\x1b[?1004l"
#: Device status report: a terminal that is still there answers at once.
PING = "\x1b[5n"
_EVENTS_FLAG = 2

PRESS, REPEAT, RELEASE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Key:
    """``name``: a character in lower case, ``up``, ``space``, ``escape``, ``ctrl-c``, …"""

    name: str
    event: int = PRESS


@dataclass(frozen=True, slots=True)
class Focus:
    """The terminal's window got or lost the keyboard."""

    here: bool


@dataclass(frozen=True, slots=True)
class Releases:
    """Whether the terminal reports releases."""

    reported: bool


@dataclass(frozen=True, slots=True)
class Alive:
    """The terminal answered ``PING``."""


Event: TypeAlias = Key | Focus | Releases | Alive

_CSI = re.compile(rb"\x1b\[([0-9:;<=>?]*)([ -/]*)([@-~])")
_CSI_BEGUN = re.compile(rb"\x1b\[[0-9:;<=>?]*[ -/]*\Z")
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
_CODES = {9: "tab", 13: "enter", 27: "escape", 32: "space", 127: "backspace"}
_CTRL = 4
#: An escape sequence that is longer is none.
_LONGEST = 64


class KeyDecoder:
    """Keeps what is cut in the middle until the rest comes."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def waiting(self) -> bool:
        """Whether an escape hangs that may be a key of its own; call ``flush`` after a pause."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[Event]:
        """Every event in ``data``; bytes that mean nothing are passed over."""
        data = self._rest + data
        self._rest = b""
        events: list[Event] = []
        at = 0
        while at < len(data):
            found, used = self._next(data[at : at + _LONGEST])
            if not used:
                self._rest = data[at:]
                break
            events += found
            at += used
        return events

    def flush(self) -> list[Event]:
        """What hangs was whole: a lone escape."""
        rest, self._rest = self._rest, b""
        return [Key("escape")] if rest == b"\x1b" else []

    def _next(self, data: bytes) -> tuple[list[Event], int]:
        """(events, bytes used); 0 bytes where more are needed."""
        if data[0] != 0x1B:
            return _plain(data[0]), 1
        if len(data) == 1:
            return [], 0
        if data[1:2] == b"O":
            if len(data) == 2:
                return [], 0
            name = _ARROWS.get(data[2:3])
            return ([Key(name)] if name else []), 3
        if data[1:2] != b"[":
            return [Key("escape")], 1
        match = _CSI.match(data)
        if match is not None:
            return _sequence(match[1], match[3]), match.end()
        unfinished = _CSI_BEGUN.match(data) is not None and len(data) < _LONGEST
        return [], 0 if unfinished else 2


def _plain(byte: int) -> list[Event]:
    if byte in _CODES:
        return [Key(_CODES[byte])]
    if byte == 10:
        return [Key("enter")]
    if 1 <= byte <= 26:
        return [Key(f"ctrl-{chr(byte + 96)}")]
    return [Key(chr(byte).lower())] if 33 <= byte <= 126 else []


def _sequence(parameters: bytes, final: bytes) -> list[Event]:
    if final in (b"I", b"O") and not parameters:
        return [Focus(final == b"I")]
    if final == b"n":
        return [Alive()] if parameters == b"0" else []
    if final == b"u" and parameters.startswith(b"?"):
        return [Releases(bool(_integer(parameters[1:]) & _EVENTS_FLAG))]
    fields = [part.split(b":") for part in parameters.split(b";")]
    modifiers = _integer(fields[1][0], 1) - 1 if len(fields) > 1 else 0
    event = _integer(fields[1][1], PRESS) if len(fields) > 1 and len(fields[1]) > 1 else PRESS
    if event not in (PRESS, REPEAT, RELEASE):
        return []
    name = _ARROWS.get(final) or (_named(_integer(fields[0][0])) if final == b"u" else "")
    if not name:
        return []
    return [Key(f"ctrl-{name}" if modifiers & _CTRL and len(name) == 1 else name, event)]


def _named(code: int) -> str:
    return _CODES.get(code) or (chr(code).lower() if 33 <= code <= 126 else "")


def _integer(text: bytes, default: int = 0) -> int:
    return int(text) if text.isdigit() and len(text) < 8 else default
