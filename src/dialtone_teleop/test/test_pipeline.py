"""What the pipeline lets through, and when it stops: pure, with a clock in hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialtone_core.command import STOP, Command, Envelope, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import LeaseParams, LockParams, SourceParams, TeleopParams
from dialtone_teleop.pipeline import Pipeline

READY = VehicleState(ready=True, link=True, armed=True, speed_mps=0.0, turn_rps=0.0)
MOVING = VehicleState(ready=True, link=True, armed=True, speed_mps=0.5, turn_rps=0.0)
LOST = VehicleState(ready=False, reason="link_lost")
MS = 1_000_000
PARAMS = TeleopParams(
    sources={
        "auto": SourceParams(priority=10),
        "low": SourceParams(priority=50),
        "high": SourceParams(priority=60),
    },
    lease=LeaseParams(implicit=("auto", "low", "high")),
)


def command(source: str, now_ns: int, x: float = 0.4, ttl_ms: int | None = None) -> Command:
    ttl_ns = None if ttl_ms is None else ttl_ms * MS
    return Command(source, Twist(x), now_ns, Envelope(ttl_ns=ttl_ns))


def drive(pipeline: Pipeline, source: str, now_ns: int, x: float = 0.4) -> Twist | None:
    decision = pipeline.command(command(source, now_ns, x), READY, now_ns)
    if decision.twist is not None:
        pipeline.sent(decision.twist, now_ns)
    return decision.twist


def test_silence_is_a_stop_at_the_deadline_repeated_for_a_second() -> None:
    pipeline = Pipeline(PARAMS)
    drive(pipeline, "low", 0)
    assert pipeline.tick(READY, 249 * MS).twist is None
    assert pipeline.tick(READY, 250 * MS).twist == STOP
    sent = [t for t in range(251, 3000) if pipeline.tick(READY, t * MS).twist is not None]
    assert sent[:2] == [255, 260], "the first ones soon: each may be lost"
    assert 20 <= len(sent) <= 22
    assert 1150 <= sent[-1] < 1250


def test_a_commands_own_ttl_ends_it_sooner() -> None:
    pipeline = Pipeline(PARAMS)
    pipeline.command(command("low", 0, ttl_ms=100), READY, 0)
    assert pipeline.tick(READY, 99 * MS).twist is None
    assert pipeline.tick(READY, 100 * MS).twist == STOP


def test_a_dead_command_is_refused_by_name() -> None:
    decision = Pipeline(PARAMS).command(command("low", 0, ttl_ms=0), READY, 0)
    assert (decision.twist, decision.reasons) == (None, ("expired",))


def test_the_higher_source_takes_over_and_the_lower_returns_after_its_silence() -> None:
    pipeline = Pipeline(PARAMS)
    assert drive(pipeline, "low", 0) is not None
    assert drive(pipeline, "high", 10 * MS) is not None
    assert drive(pipeline, "low", 20 * MS) is None
    assert pipeline.refused["low"]["outranked"] == 1
    assert drive(pipeline, "low", 260 * MS) is not None


def test_a_lock_that_never_spoke_blocks_what_is_below_it() -> None:
    sources = {"low": SourceParams(priority=50), "high": SourceParams(priority=200)}
    params = TeleopParams(
        sources=sources,
        locks={"gate": LockParams(priority=100)},
        lease=LeaseParams(implicit=("low", "high")),
    )
    pipeline = Pipeline(params)
    assert drive(pipeline, "low", 0) is None
    assert pipeline.refused["low"]["locked"] == 1
    assert drive(pipeline, "high", 0) is not None
    pipeline.arbiter.set_lock("gate", False, 400 * MS)
    assert drive(pipeline, "low", 400 * MS) is not None
    pipeline.arbiter.set_lock("gate", True, 410 * MS)
    assert pipeline.tick(READY, 411 * MS).twist == STOP


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_moves_and_never_takes_the_wheel(value: float) -> None:
    pipeline = Pipeline(PARAMS)
    assert drive(pipeline, "high", 0, value) is None
    assert drive(pipeline, "low", 1) is not None
    assert pipeline.refused["high"]["not_finite"] == 1


def test_a_vehicle_that_cannot_be_driven_is_stopped_at_once() -> None:
    pipeline = Pipeline(PARAMS)
    drive(pipeline, "low", 0)
    decision = pipeline.tick(LOST, 20 * MS)
    assert (decision.twist, decision.reasons) == (STOP, ("link_lost",))
    assert pipeline.command(command("low", 30 * MS), LOST, 30 * MS).reasons == ("link_lost",)


def test_an_e_stop_outlasts_silence_and_repeats_until_rest() -> None:
    pipeline = Pipeline(PARAMS)
    drive(pipeline, "low", 0)
    assert pipeline.estop(True, "ada", 1).twist == STOP
    assert drive(pipeline, "high", 2) is None
    repeated = [t for t in range(5000) if pipeline.tick(MOVING, t * MS).twist is not None]
    assert repeated[-1] > 4900
    assert pipeline.tick(READY, 6000 * MS).twist is None
    assert drive(pipeline, "low", 7000 * MS) is None
    pipeline.estop(False, "ada", 7001 * MS)
    assert drive(pipeline, "low", 7002 * MS) is None
    assert drive(pipeline, "low", 7003 * MS, 0.0) is not None
    assert drive(pipeline, "low", 7004 * MS) is not None


SPEED = st.floats(allow_nan=True, allow_infinity=True, width=32)
STEP = st.tuples(
    st.integers(0, 400),
    st.sampled_from(["low", "high", "auto", "tick", "estop", "clear", "lost"]),
    SPEED,
    SPEED,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_limits_hold_silence_stops_and_the_e_stop_wins(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """Whatever comes: speeds and ramps within limits, no motion after a deadline or an e-stop."""
    pipeline = Pipeline(PARAMS)
    limits = PARAMS.limits
    now_ns, last, last_ns, latched, heard_ns = 0, STOP, None, False, -(10**12)
    for wait_ms, what, x, yaw in steps:
        for _ in range(wait_ms // 10):
            now_ns += 10 * MS
            twist = pipeline.tick(READY, now_ns).twist
            assert twist in (None, STOP)
            if twist is not None:
                pipeline.sent(twist, now_ns)
                last, last_ns = twist, now_ns
            if now_ns - heard_ns >= 260 * MS:
                assert last == STOP
        if what in ("estop", "clear"):
            latched = what == "estop"
            twist = pipeline.estop(latched, "x", now_ns).twist
            assert twist == (STOP if latched else None)
        elif what in ("tick", "lost"):
            twist = pipeline.tick(LOST if what == "lost" else READY, now_ns).twist
            assert twist in (None, STOP)
        else:
            asked = Command(what, Twist(x, x, x, yaw, yaw, yaw), now_ns)
            twist = pipeline.command(asked, READY, now_ns).twist
            heard_ns = now_ns if twist is not None else heard_ns
        if twist is None:
            continue
        assert not (latched and twist != STOP)
        assert abs(twist.x) <= limits.x_mps
        assert abs(twist.yaw) <= limits.yaw_rps
        assert (twist.y, twist.z, twist.roll, twist.pitch) == (0, 0, 0, 0)
        span_s = 0.1 if last_ns is None else min(0.1, (now_ns - last_ns) / 1e9)
        if twist != STOP:
            grown = abs(twist.x) - abs(last.x)
            bound = limits.accel_mps2 if grown > 0 else limits.decel_mps2
            assert abs(twist.x - last.x) <= bound * span_s + 1e-9
            assert twist.x * last.x >= 0
        pipeline.sent(twist, now_ns)
        last, last_ns = twist, now_ns


def test_what_kept_the_vehicle_from_driving_is_not_told_for_longer_than_it_lasts() -> None:
    pipeline = Pipeline(PARAMS)
    drive(pipeline, "low", 0)
    pipeline.tick(LOST, 20 * MS)
    assert pipeline.reasons == ("link_lost",)
    pipeline.tick(LOST, 40 * MS)
    pipeline.tick(READY, 2000 * MS)
    assert pipeline.reasons == ("idle",)
