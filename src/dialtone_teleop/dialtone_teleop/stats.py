"""Percentiles of the newest values, for diagnostics."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class Percentiles:
    """Keeps the newest ``size`` values. ``add`` may be called from any thread."""

    def __init__(self, size: int = 1000) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        self._values.append(value)

    def at(self, percents: Sequence[float]) -> list[float] | None:
        """The nearest-rank percentiles, or ``None`` while there are no values."""
        ordered = sorted(self._values.copy())
        if not ordered:
            return None
        last = len(ordered) - 1
        return [ordered[min(last, round(last * percent / 100))] for percent in percents]
