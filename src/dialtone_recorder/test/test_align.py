"""Alignment: causal unless asked otherwise, and honest about ages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_recorder.align import grid, match, rate_hz, sample, window

MS = 1_000_000


def stamps(*ms: float) -> np.ndarray:
    return np.array([round(each * MS) for each in ms], np.int64)


@given(
    st.lists(st.integers(0, 10**10), min_size=1, max_size=50, unique=True),
    st.lists(st.integers(0, 10**10), min_size=1, max_size=50),
)
def test_hold_never_takes_a_sample_of_the_future(samples: list[int], times: list[int]) -> None:
    known, frames = np.array(sorted(samples)), np.array(sorted(times))
    found = match(known, frames, "hold", 5.0)
    for frame, index, bad, age in zip(frames, found.index, found.bad, found.age_s, strict=True):
        past = [s for s in known if s <= frame]
        if past:
            assert known[index] == past[-1]
            assert age == pytest.approx((frame - past[-1]) / 1e9)
            assert bad == (age > 5.0)
        else:
            assert bad


def test_nearest_may_look_ahead_and_says_so_by_a_negative_age() -> None:
    found = match(stamps(0, 100), stamps(20, 60, 100), "nearest", 0.030)
    assert found.index.tolist() == [0, 1, 1]
    assert found.age_s.tolist() == pytest.approx([0.02, -0.04, 0.0])
    assert found.bad.tolist() == [False, True, False]


def test_interpolation_mixes_both_neighbours_and_wants_both_near() -> None:
    found = match(stamps(0, 100, 1000), stamps(25, 100, 500, 1000, 1100), "interpolate", 0.2)
    values = sample(np.array([[0.0], [1.0], [10.0]]), found)
    assert values[:2, 0].tolist() == pytest.approx([0.25, 1.0])
    assert values[3, 0] == 10.0
    assert found.bad.tolist() == [False, False, True, False, True]


def test_a_grid_of_an_hour_does_not_drift() -> None:
    start = 1_800_000_000 * 10**9
    times = grid(start, start + 3600 * 10**9, 30)
    assert len(times) == 108_001
    assert times[-1] - start == 3600 * 10**9
    exact = np.arange(108_001) / 30
    assert np.abs((times - start) / 1e9 - exact).max() < 1e-6
    assert len(grid(5, 4, 30)) == 0


def test_the_window_begins_with_the_latest_and_ends_when_one_falls_silent() -> None:
    series = {"a": stamps(0, 1000), "b": stamps(100, 600)}
    assert window(series, {"a": 0.5, "b": 0.1}) == (100 * MS, 700 * MS)
    assert window(series, {"a": 0.5, "b": 9.0}) == (100 * MS, 1000 * MS)


def test_a_rate_is_that_of_the_intervals() -> None:
    assert rate_hz(stamps(0, 100, 200)) == pytest.approx(10.0)
    assert rate_hz(stamps(0)) == 0.0
