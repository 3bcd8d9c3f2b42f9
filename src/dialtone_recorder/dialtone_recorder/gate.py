"""The live gate: is what comes in worth recording? Green, yellow or red, and why.

Told apart from what an episode says afterwards: the gate speaks while something can be mended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from dialtone_core.cdr import read_stamp_ns
from dialtone_core.clock import NS_PER_S
from dialtone_core.config import param
from dialtone_core.errors import WireError
from dialtone_core.sample import Sample

#: Rates are counted over so long; a gap is remembered so long.
WINDOW_NS = 3 * NS_PER_S
#: A topic at less than this share of its rate is yellow, at less than half of it red.
FULL, HALF = 0.9, 0.5
_HEADER_LINE = ("std_msgs/Header header", "std_msgs/msg/Header header", "Header header")


class Colour(IntEnum):
    """Levels of the gate; diagnostics says OK, WARN, ERROR."""

    GREEN = 0
    YELLOW = 1
    RED = 2


@dataclass(frozen=True)
class GateRule:
    """What one topic must be like. 0 is no bound."""

    topic: str = param("", "topic, relative to the recorder's namespace unless it begins with /")
    rate_hz: float = param(
        0.0, "expected rate: yellow below 90 % of it, red below half", unit="Hz", minimum=0
    )
    max_gap_s: float = param(
        0.0, "longest time between two messages: yellow after one, red during one",
        unit="s", minimum=0,
    )  # fmt: skip
    max_skew_s: float = param(
        0.0, "longest distance of header stamp (or publish stamp) and receipt: red beyond",
        unit="s", minimum=0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """A colour and the reasons for it, worst first."""

    colour: Colour = Colour.GREEN
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.colour.name.lower()


def has_header(definition: str | None) -> bool:
    """Whether a message begins with a ``std_msgs/Header``, by its ``.msg`` text."""
    for line in (definition or "").splitlines():
        text = " ".join(line.split("#")[0].split())
        if text:
            return text in _HEADER_LINE
    return False


@dataclass(slots=True)
class _Watched:
    """One topic's last seconds. Receipt stamps, because the publisher's are what is judged."""

    rule: GateRule
    header: bool = False
    stamps: deque[int] = field(default_factory=deque)
    last_ns: int = 0
    gap_ns: int = 0
    gap_at_ns: int = 0
    skew_ns: int = 0

    def see(self, sample: Sample) -> None:
        now_ns = sample.receive_ns
        if self.last_ns and now_ns - self.last_ns > self.gap_ns:
            self.gap_ns, self.gap_at_ns = now_ns - self.last_ns, now_ns
        self.last_ns = now_ns
        self.stamps.append(now_ns)
        while self.stamps[0] <= now_ns - WINDOW_NS:
            self.stamps.popleft()
        stamp_ns = sample.publish_ns
        if self.header:
            try:
                stamp_ns = read_stamp_ns(sample.payload)
            except WireError:
                return
        skew_ns = abs(now_ns - stamp_ns)
        self.skew_ns = max(skew_ns, self.skew_ns) if self.rule.max_skew_s else 0

    def judge(self, name: str, now_ns: int, since_ns: int) -> list[tuple[Colour, str]]:
        found: list[tuple[Colour, str]] = []
        rule = self.rule
        span_ns = min(WINDOW_NS, now_ns - since_ns)
        if rule.rate_hz and span_ns >= NS_PER_S:
            rate = sum(1 for each in self.stamps if each > now_ns - span_ns) * NS_PER_S / span_ns
            if rate < FULL * rule.rate_hz:
                colour = Colour.RED if rate < HALF * rule.rate_hz else Colour.YELLOW
                found.append((colour, f"{name}: {rate:.1f} Hz of {rule.rate_hz:g}"))
        if rule.max_gap_s:
            silent_s = (now_ns - (self.last_ns or since_ns)) / NS_PER_S
            if now_ns - self.gap_at_ns > WINDOW_NS:
                self.gap_ns = 0
            if silent_s > rule.max_gap_s:
                found.append((Colour.RED, f"{name}: silent for {silent_s:.2f} s"))
            elif self.gap_ns > rule.max_gap_s * NS_PER_S:
                found.append((Colour.YELLOW, f"{name}: gap of {self.gap_ns / NS_PER_S:.3f} s"))
        if rule.max_skew_s and self.skew_ns > rule.max_skew_s * NS_PER_S:
            skew_s = self.skew_ns / NS_PER_S
            found.append((Colour.RED, f"{name}: stamps are {skew_s:.3f} s off its receipt"))
        self.skew_ns = 0
        return found


class Gate:
    """Watches the topics of ``rules``; ``see`` in the source's thread, ``judge`` anywhere.

    All stamps are Unix epoch ns; the caller passes the present one in.
    """

    def __init__(self, rules: Mapping[str, GateRule], namespace: str = "/") -> None:
        prefix = "/" + namespace.strip("/") + "/" if namespace.strip("/") else "/"
        self._watched = {
            each.topic if each.topic.startswith("/") else prefix + each.topic: _Watched(each)
            for each in rules.values()
        }
        self._since_ns = 0
        self.verdict = Verdict()

    @property
    def topics(self) -> frozenset[str]:
        """Full names of what is watched."""
        return frozenset(self._watched)

    def told(self, name: str, definition: str | None) -> None:
        """``name`` is delivered from now on, as a type of this definition."""
        if name in self._watched:
            self._watched[name].header = has_header(definition)

    def restart(self, now_ns: int) -> None:
        """Subscriptions are made anew: the silence that follows is ours, not the publisher's."""
        self._since_ns = now_ns
        for each in self._watched.values():
            each.stamps.clear()
            each.last_ns = 0

    def see(self, sample: Sample) -> None:
        """Note one message of a watched topic."""
        self._watched[sample.topic].see(sample)

    def judge(self, now_ns: int, free_bytes: int, floor_bytes: int, lost: int = 0) -> Verdict:
        """The verdict now; ``lost`` messages since the last one make it yellow."""
        found: list[tuple[Colour, str]] = []
        for name, each in self._watched.items():
            found += each.judge(name, now_ns, self._since_ns)
        if free_bytes < floor_bytes:
            found.append((Colour.RED, f"disk: {free_bytes // 1_000_000} MB free"))
        elif free_bytes < 2 * floor_bytes:
            found.append((Colour.YELLOW, f"disk: {free_bytes // 1_000_000} MB free"))
        if lost:
            found.append((Colour.YELLOW, f"{lost} messages lost: the disk is too slow"))
        found.sort(key=lambda each: -each[0])
        colour = found[0][0] if found else Colour.GREEN
        self.verdict = Verdict(colour, tuple(text for _, text in found))
        return self.verdict
