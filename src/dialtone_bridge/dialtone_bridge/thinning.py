"""A cap on the rate of one flow: at each turn its newest message passes. Free of ROS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dialtone_bridge.stats import FlowStats, RateCap
from dialtone_core.clock import Clock, SystemClock
from dialtone_core.sample import Sample

#: No burst is longer, whatever a wall clock that was stepped says of it.
_BURST_NS = 100_000_000
Give = Callable[[list[Sample]], None]


class Timer(Protocol):
    """Calls once after each start, in the source's thread."""

    def start(self, delay_ns: int) -> None:
        """Call in ``delay_ns``, and not when it would have called before."""

    def close(self) -> None:
        """Call no more. Idempotent; ``start`` opens it again."""


class Thinner:
    """What comes between two turns is held until something newer comes. Where nothing does, the
    stream has ended and what is held is how things stand: it passes by itself, at its turn.

    A steady stream is cheap: its own messages take the turns, and the timer, which a message of
    its would otherwise be too late for, waits up to half a period for it. Each message is counted
    once, as sent or in ``stats.skipped``.
    """

    def __init__(
        self,
        max_hz: float,
        stats: FlowStats,
        timer: Callable[[Callable[[], None]], Timer],
        give: Give,
        clock: Clock | None = None,
    ) -> None:
        self._cap = RateCap(max_hz)
        self._clock = clock or SystemClock()
        self._stats = stats
        self._timer = timer(self._on_turn)
        self._give = give
        self._held: Sample | None = None
        self._armed_ns = 0
        self._before_ns = 0

    def thin(self, burst: list[Sample]) -> list[Sample]:
        """Those that pass at once, judged by when each came and not by when it was taken: a burst
        is a few ms of the topic."""
        now_ns = self._clock.monotonic_ns()
        ahead_ns = self._clock.wall_ns() - now_ns
        kept = [
            each
            for each in burst
            if self._cap.passes(min(max(each.receive_ns - ahead_ns, now_ns - _BURST_NS), now_ns))
        ]
        newest = burst[-1]
        waiting = self._held is not None
        self._held = None if kept and kept[-1] is newest else newest
        self._stats.skipped += waiting + len(burst) - len(kept) - (self._held is not None)
        if self._held is not None and self._armed_ns != self._cap.next_ns:
            self._arm(burst, now_ns)
        self._before_ns = newest.receive_ns
        return kept

    def drop(self) -> None:
        """Nobody wants the flow any more: what is held goes nowhere."""
        self._timer.close()
        self._armed_ns = 0
        if self._held is not None:
            self._held = None
            self._stats.skipped += 1

    def _arm(self, burst: list[Sample], now_ns: int) -> None:
        """Once a turn, for the turn. A stream goes on: its next message is awaited for one and a
        half of its intervals, and takes the turn."""
        before_ns = burst[-2].receive_ns if len(burst) > 1 else self._before_ns
        grace_ns = max(0, (burst[-1].receive_ns - before_ns) * 3 // 2)
        turn_ns = self._armed_ns = self._cap.next_ns
        self._timer.start(max(0, turn_ns + min(grace_ns, self._cap.period_ns // 2) - now_ns))

    def _on_turn(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._cap.take_turn(self._clock.monotonic_ns())
            self._give([held])
