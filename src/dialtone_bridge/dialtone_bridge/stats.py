"""Figures of a flow: counts, rates, sizes, ages; and a cap on its rate. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dialtone_core.clock import NS_PER_S
from dialtone_core.sample import Sample


class RateCap:
    """Turns of which there are at most ``max_hz`` a second, one message each.

    They stand on a fixed grid, so that a 30 Hz stream capped to 10 Hz yields 10 and not 7.5.
    ``next_ns`` is the monotonic moment of the next.
    """

    def __init__(self, max_hz: float) -> None:
        self.period_ns = round(NS_PER_S / max_hz)
        self.next_ns = 0

    def passes(self, now_ns: int) -> bool:
        """Whether it is the turn of the message that came at monotonic ``now_ns``."""
        early_ns = self.period_ns // 10  # jitter of a publisher at just that rate costs none
        if now_ns < self.next_ns - early_ns:
            return False
        self.take_turn(now_ns)
        return True

    def take_turn(self, now_ns: int) -> None:
        """A message goes on at ``now_ns``."""
        behind = now_ns - self.next_ns
        self.next_ns = (now_ns if behind > self.period_ns else self.next_ns) + self.period_ns


@dataclass
class FlowStats:
    """Counts of one topic since it was found; ``skipped`` fell to its rate cap.

    All moments are those of the monotonic clock, so that a stepped wall clock changes no age.
    """

    messages: int = 0
    bytes: int = 0
    skipped: int = 0
    last_ns: int = 0
    rate_hz: float = 0.0
    bytes_per_s: float = 0.0
    _mark: tuple[int, int, int] = (0, 0, 0)

    def count(self, burst: Sequence[Sample], now_ns: int) -> None:
        """These messages came just now."""
        self.add(len(burst), sum([len(each.payload) for each in burst]), now_ns)

    def add(self, messages: int, size: int, now_ns: int) -> None:
        """So many messages of ``size`` bytes together came just now."""
        self.messages += messages
        self.bytes += size
        self.last_ns = now_ns

    def age_s(self, now_ns: int) -> float | None:
        """Seconds since the last message, ``None`` where none came."""
        return round((now_ns - self.last_ns) / NS_PER_S, 3) if self.last_ns else None

    def measure(self, now_ns: int) -> float:
        """Messages a second since the last call."""
        at_ns, messages, size = self._mark
        if at_ns and now_ns > at_ns:
            self.rate_hz = (self.messages - messages) * NS_PER_S / (now_ns - at_ns)
            self.bytes_per_s = (self.bytes - size) * NS_PER_S / (now_ns - at_ns)
        self._mark = (now_ns, self.messages, self.bytes)
        return self.rate_hz


@dataclass
class Refusals:
    """What was not let in, by reason; ``last`` tells the newest in words."""

    by_reason: Counter[str] = field(default_factory=Counter)
    last: str = ""

    def count(self, reason: str, detail: str = "") -> None:
        self.by_reason[reason] += 1
        self.last = f"{reason}: {detail}" if detail else reason

    def total(self) -> int:
        return sum(self.by_reason.values())

    def figures(self) -> dict[str, object]:
        """For ``Health.values``: how many in all, how many for each reason, the newest."""
        values: dict[str, object] = {"commands_refused": self.total()}
        values |= {f"refused.{reason}": count for reason, count in list(self.by_reason.items())}
        if self.last:
            values["last_refusal"] = self.last
        return values


class Troubles:
    """What goes wrong at a server, in its words; ``last`` are the newest."""

    _MOST = 4
    _RECENT_S = 15.0

    def __init__(self) -> None:
        self.total = 0
        self.last = ""
        self._last_s = float("-inf")
        self._said: set[str] = set()

    def count(self, words: str, now_s: float) -> bool:
        """Whether these words are to be said: new ones, and not endlessly many."""
        self.total += 1
        self.last, self._last_s = words, now_s
        if words in self._said or len(self._said) >= self._MOST:
            return False
        self._said.add(words)
        return True

    def recent(self, now_s: float) -> bool:
        """Whether it happens still."""
        return now_s - self._last_s < self._RECENT_S
