"""A wall clock that is stepped: rates and caps go by the monotonic one."""

from __future__ import annotations

import time

import pytest

from dialtone_bridge.stats import FlowStats, RateCap
from dialtone_core.clock import NS_PER_S
from dialtone_core.sample import Sample


@pytest.mark.parametrize("step_s", [-86_400, 86_400])
def test_a_stepped_wall_clock_changes_no_rate_and_no_age(step_s: int) -> None:
    stats = FlowStats()
    wall_ns, now_ns = 1_700_000_000 * NS_PER_S, 7 * NS_PER_S
    stats.measure(now_ns)
    for number in range(20):
        now_ns += NS_PER_S // 10
        wall_ns += NS_PER_S // 10 + (step_s * NS_PER_S if number == 10 else 0)
        burst = [Sample("/t", "std_msgs/msg/String", "cdr", b"x", wall_ns, wall_ns, number)]
        stats.count(burst, now_ns)
    assert stats.measure(now_ns) == pytest.approx(10.0)
    assert stats.age_s(now_ns + NS_PER_S // 2) == 0.5


def test_a_cap_goes_on_after_a_gap_of_a_day() -> None:
    cap = RateCap(10.0)
    began_ns = time.monotonic_ns()
    passed = [cap.passes(began_ns + k * NS_PER_S // 100) for k in range(95)]
    assert sum(passed) == 10
    later_ns = began_ns + 86_400 * NS_PER_S
    passed = [cap.passes(later_ns + k * NS_PER_S // 100) for k in range(95)]
    assert sum(passed) == 10
