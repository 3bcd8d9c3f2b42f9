"""Time as an argument: everything that asks for the time asks a ``Clock``."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Two clocks, because they answer different questions.

    ``monotonic_ns`` measures ages and timeouts and never steps. ``wall_ns`` (Unix epoch) stamps
    what leaves the process; it steps when NTP or an operator says so, hence never decides safety.
    """

    def monotonic_ns(self) -> int: ...

    def wall_ns(self) -> int: ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class FakeClock:
    """A clock that stands until a test moves it; ``step_wall`` moves the wall clock alone."""

    def __init__(self, monotonic_ns: int = 0, wall_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def advance(self, duration_s: float) -> None:
        """Let ``duration_s`` seconds pass on both clocks."""
        if duration_s < 0:
            raise ValueError("time does not run backwards; use step_wall to step the wall clock")
        self._monotonic_ns += round(duration_s * NS_PER_S)
        self._wall_ns += round(duration_s * NS_PER_S)

    def step_wall(self, offset_s: float) -> None:
        """Step the wall clock as NTP would, forwards or backwards; monotonic time stays."""
        self._wall_ns += round(offset_s * NS_PER_S)
