"""What is said of clients: in bounds, by time, and never in a client's own control characters."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST = 300


def clean(text: str, longest: int = _LONGEST) -> str:
    """``text`` on one line: a client's newline or escape sequence must forge nothing in a log."""
    if text.isprintable() and len(text) <= longest:
        return text
    cut = text[:longest]
    made = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return made + ("…" if len(text) > longest else "")


class Throttle:
    """Lets ``burst`` pass at once and one more every ``every_s``; ``held`` were held back since
    the last that passed."""

    def __init__(
        self, burst: int, every_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._every_s = every_s
        self._now_s = now_s
        self._left = float(burst)
        self._seen_s = now_s()
        self.held = 0

    def passes(self) -> bool:
        now_s = self._now_s()
        self._left = min(self._burst, self._left + (now_s - self._seen_s) / self._every_s)
        self._seen_s = now_s
        if self._left < 1:
            self.held += 1
            return False
        self._left -= 1
        return True


class Complaints:
    """Warnings about clients on the way to the log, however many there would be."""

    def __init__(
        self,
        warn: Callable[[str], object],
        throttle: Throttle | None = None,
    ) -> None:
        self._warn = warn
        self._throttle = throttle or Throttle(20, 1.0)

    def __call__(self, line: str) -> None:
        throttle = self._throttle
        if not throttle.passes():
            return
        held, throttle.held = throttle.held, 0
        more = f" ({held} more like this were left out)" if held else ""
        self._warn(clean(line) + more)
