"""The rover obeys its limits, whatever it is told and however time is cut."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_sim.dynamics import Axis, Limits, State, step, wrap

LIMITS = Limits(2.0, 1.5, 3.0, 1.8, 6.0, 0.06)
_wishes = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-4, 0.5, allow_nan=False)),
    min_size=1,
    max_size=40,
)
_limits = st.builds(
    Limits,
    st.floats(0.1, 10),
    st.floats(0.1, 10),
    st.floats(0.1, 10),
    st.floats(0.1, 10),
    st.floats(0.1, 20),
    st.one_of(st.just(0.0), st.floats(0.001, 2)),
)


@given(_wishes, _limits)
def test_speed_turn_and_their_slopes_never_exceed_the_limits(
    wishes: list[tuple[float, float, float]], limits: Limits
) -> None:
    state = State()
    for speed, yaw_rate, dt in wishes:
        after = step(state, speed, yaw_rate, limits, dt)
        steepest = max(limits.accel, limits.decel)
        assert abs(after.speed - state.speed) <= steepest * dt * (1 + 1e-9) + 1e-9
        assert abs(after.yaw_rate - state.yaw_rate) <= limits.yaw_accel * dt * (1 + 1e-9) + 1e-9
        assert abs(after.speed) <= limits.max_speed + 1e-9
        assert abs(after.yaw_rate) <= limits.max_yaw_rate + 1e-9
        moved = math.hypot(after.north - state.north, after.east - state.east)
        assert moved <= limits.max_speed * dt + 1e-9
        assert -math.pi < after.yaw <= math.pi
        state = after


@given(st.floats(-2, 2), st.floats(-2, 2), st.integers(1, 50))
def test_one_long_step_ends_at_the_speed_of_many_short_ones(
    first: float, then: float, pieces: int
) -> None:
    start = Axis().stepped(first, 1.5, 3.0, 0.06, 0.7)
    once = start.stepped(then, 1.5, 3.0, 0.06, 0.5)
    many = start
    for _ in range(pieces):
        many = many.stepped(then, 1.5, 3.0, 0.06, 0.5 / pieces)
    assert many.value == pytest.approx(once.value, abs=1e-9)
    assert many.ramp == pytest.approx(once.ramp, abs=1e-9)


def test_a_motor_with_lag_starts_later_than_its_ramp_and_arrives() -> None:
    begun = step(State(), 1.0, 0.0, LIMITS, 0.02)
    assert 0 < begun.speed < begun.drive.ramp
    arrived = begun
    for _ in range(200):
        arrived = step(arrived, 1.0, 0.0, LIMITS, 0.01)
    assert arrived.speed == pytest.approx(1.0, abs=1e-6)


def test_braking_is_as_steep_as_decel_says_and_reversing_speeds_up_with_accel() -> None:
    limits = Limits(2.0, 1.0, 4.0, 1.0, 1.0, 0.0)
    rolling = State(drive=Axis(2.0, 2.0))
    assert step(rolling, -2.0, 0.0, limits, 0.25).speed == pytest.approx(1.0)
    assert step(rolling, -2.0, 0.0, limits, 0.5).speed == pytest.approx(0.0)
    assert step(rolling, -2.0, 0.0, limits, 1.0).speed == pytest.approx(-0.5)


def test_driving_east_at_one_metre_a_second_goes_east() -> None:
    state = State(yaw=math.pi / 2, drive=Axis(1.0, 1.0))
    for _ in range(100):
        state = step(state, 1.0, 0.0, LIMITS, 0.01)
    assert state.east == pytest.approx(1.0)
    assert state.north == pytest.approx(0.0, abs=1e-9)


def test_time_that_stands_or_runs_backwards_moves_nothing() -> None:
    state = State(drive=Axis(1.0, 1.0))
    assert step(state, 2.0, 1.0, LIMITS, 0.0) == state
    assert step(state, 2.0, 1.0, LIMITS, -1.0) == state


@given(st.floats(-1e6, 1e6))
def test_wrapping_keeps_the_direction(angle: float) -> None:
    assert math.cos(wrap(angle)) == pytest.approx(math.cos(angle), abs=1e-6)
    assert -math.pi < wrap(angle) <= math.pi
