"""TIMESYNC: how long the line takes, and how far the autopilot's clock is from ours.

Both sides ask (``tc1`` = 0, ``ts1`` = the asker's clock) and answer (``tc1`` = the answerer's,
``ts1`` echoed). Pure; times are monotonic ns. Source: MAVLink's time synchronisation protocol.
"""

from __future__ import annotations

from typing import Any

from pymavlink.dialects.v20 import common as mavlink

_PERIOD_NS = 1_000_000_000
#: An answer that took longer says more about the queue than about the clocks.
_SLOWEST_NS = 500_000_000


class TimeSync:
    """Round trip and offset as of the last good answer; ``None`` before."""

    def __init__(self) -> None:
        self.round_trip_ms: float | None = None
        self.offset_ms: float | None = None
        self._due_ns = 0

    def tick(self, now_ns: int) -> list[Any]:
        """The next question, once a second."""
        if now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + _PERIOD_NS
        return [mavlink.MAVLink_timesync_message(0, now_ns)]

    def on_timesync(self, message: Any, now_ns: int) -> list[Any]:
        """Answer a question, or learn from an answer."""
        if message.tc1 == 0:
            return [mavlink.MAVLink_timesync_message(now_ns, message.ts1)]
        round_trip_ns = now_ns - message.ts1
        if 0 <= round_trip_ns < _SLOWEST_NS:
            self.round_trip_ms = round_trip_ns / 1e6
            self.offset_ms = (message.tc1 - message.ts1 - round_trip_ns / 2) / 1e6
        return []
