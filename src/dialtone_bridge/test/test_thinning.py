"""A capped flow: regular while it runs, and its last message arrives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_bridge.stats import FlowStats, RateCap
from dialtone_bridge.thinning import Thinner
from dialtone_core.clock import NS_PER_S, FakeClock
from dialtone_core.sample import Sample

START_NS = 1000 * NS_PER_S


class Line:
    """A thinned flow on a fake clock: feed it, and see what went on and when."""

    def __init__(self, max_hz: float) -> None:
        self.clock = FakeClock(START_NS)
        self.stats = FlowStats()
        self.out: list[tuple[float, int]] = []
        self.starts = self.rings = self.number = 0
        self.due_ns: int | None = None
        self.thinner = Thinner(max_hz, self.stats, self._timer, self._give, self.clock)

    def _timer(self, work: object) -> Line:
        self._work = work
        return self

    def start(self, delay_ns: int) -> None:
        self.starts += 1
        self.due_ns = self.clock.monotonic_ns() + delay_ns

    def close(self) -> None:
        self.due_ns = None

    @property
    def now_s(self) -> float:
        return (self.clock.monotonic_ns() - START_NS) / NS_PER_S

    def _give(self, burst: list[Sample]) -> None:
        self.out += [(round(self.now_s, 6), int(each.payload)) for each in burst]

    def wait(self, seconds: float) -> None:
        """Let time pass, and the timer ring when it is due."""
        end_ns = self.clock.monotonic_ns() + round(seconds * NS_PER_S)
        while self.due_ns is not None and self.due_ns <= end_ns:
            due_ns, self.due_ns = self.due_ns, None
            self.clock.advance((due_ns - self.clock.monotonic_ns()) / NS_PER_S)
            before = len(self.out)
            self._work()  # type: ignore[operator]
            self.rings += len(self.out) > before
        self.clock.advance((end_ns - self.clock.monotonic_ns()) / NS_PER_S)

    def feed(self, gaps_s: Sequence[float]) -> None:
        """Messages, each so long after the one before, numbered from 0."""
        for gap_s in gaps_s:
            self.wait(gap_s)
            wall_ns = self.clock.wall_ns()
            body = b"%d" % self.number
            self.number += 1
            burst = [Sample("/t", "std_msgs/msg/String", "cdr", body, wall_ns, wall_ns)]
            self.stats.count(burst, self.clock.monotonic_ns())
            self._give(self.thinner.thin(burst))


def test_the_last_state_before_a_silence_arrives_at_the_next_turn() -> None:
    line = Line(1.0)
    line.feed([0, 0.01, 0.01])
    assert line.out == [(0.0, 0)]
    line.wait(1.1)
    assert line.out == [(0.0, 0), (pytest.approx(1.0, abs=0.02), 2)]
    assert (line.stats.messages, line.stats.skipped) == (3, 1)
    line.wait(10)
    line.feed([0])
    assert line.out[-1] == (line.now_s, 3)


@given(hz=st.integers(20, 200), cap=st.integers(1, 10))
def test_a_steady_stream_is_thinned_as_by_its_turns_alone(hz: int, cap: int) -> None:
    line, turns = Line(cap), RateCap(cap)
    gaps = [1 / hz] * (hz * 3)
    line.feed(gaps)
    at_ns = [START_NS + round(NS_PER_S / hz) * (index + 1) for index in range(len(gaps))]
    assert [number for _, number in line.out] == [
        index for index, each in enumerate(at_ns) if turns.passes(each)
    ]
    assert line.rings == 0
    assert line.starts <= len(line.out)


def test_a_stream_at_its_cap_needs_no_timer() -> None:
    line = Line(10.0)
    line.feed([0.098, 0.102] * 50)
    assert (len(line.out), line.stats.skipped, line.starts) == (100, 0, 0)


@given(gaps_s=st.lists(st.sampled_from([0, 0.001, 0.03, 0.09, 0.11, 0.4]), min_size=1))
def test_whatever_comes_the_newest_is_the_last_and_each_counts_once(gaps_s: list[float]) -> None:
    line = Line(10.0)
    line.feed(gaps_s)
    line.wait(1)
    numbers = [number for _, number in line.out]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(gaps_s) - 1
    assert len(numbers) + line.stats.skipped == line.stats.messages == len(gaps_s)
    assert len(numbers) <= 10 * line.now_s + 2
    assert line.due_ns is None


def test_a_burst_is_judged_as_one() -> None:
    line = Line(10.0)
    wall_ns = line.clock.wall_ns()
    burst = [Sample("/t", "x", "cdr", b"%d" % index, 1, wall_ns) for index in range(256)]
    assert [each.payload for each in line.thinner.thin(burst)] == [b"0"]
    assert line.stats.skipped == 254
    line.wait(0.2)
    assert line.out == [(0.1, 255)]


def test_what_nobody_wants_any_more_is_dropped_with_its_timer() -> None:
    line = Line(1.0)
    line.feed([0, 0.1])
    line.thinner.drop()
    line.thinner.drop()
    assert line.due_ns is None
    line.wait(5)
    assert (len(line.out), line.stats.skipped) == (1, 1)


@pytest.mark.parametrize("step_s", [-86_400, 86_400])
def test_a_stepped_wall_clock_holds_nothing_back(step_s: float) -> None:
    line = Line(10.0)
    line.feed([0, 0.01])
    line.clock.step_wall(step_s)
    line.feed([0.01, 0.01])
    line.wait(0.2)
    assert [number for _, number in line.out] == [0, 3]
