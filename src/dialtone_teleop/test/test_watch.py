"""Tilt, battery, fence, slow link, and the key that was held over a cleared e-stop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.command import STOP, Command, Envelope, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.neutral import RELEASED_NS, Neutral
from dialtone_teleop.params import (
    FenceParams,
    LeaseParams,
    LinkParams,
    SafetyParams,
    TeleopParams,
)
from dialtone_teleop.pipeline import Decision, Pipeline
from dialtone_teleop.watch import Fence, LinkQuality, Watch

MS = 1_000_000
READY = VehicleState(
    ready=True, link=True, roll=0.0, pitch=0.0, yaw=0.0, battery=0.8, x=0.0, y=0.0
)
BOTH = LeaseParams(implicit=("cmd_vel", "nats"))


def pipeline(safety: SafetyParams) -> Pipeline:
    return Pipeline(TeleopParams(safety=safety, lease=BOTH))


def drive(made: Pipeline, vehicle: VehicleState, at_ms: int, x: float = 0.4) -> Decision:
    decision = made.command(Command("cmd_vel", Twist(x), at_ms * MS), vehicle, at_ms * MS)
    if decision.twist is not None:
        made.sent(decision.twist, at_ms * MS)
    return decision


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"roll": math.radians(31)}, "tilt"),
        ({"roll": math.radians(-22), "pitch": math.radians(22)}, "tilt"),
        ({"roll": math.pi}, "tilt"),
        ({"roll": None}, "tilt_unknown"),
        ({"battery": 0.14}, "battery_low"),
        ({"battery": None}, "battery_unknown"),
        ({"battery": math.nan}, "battery_unknown"),
    ],
)
def test_a_tilted_or_empty_vehicle_stops_and_takes_no_command(
    state: dict[str, Any], reason: str
) -> None:
    made = pipeline(SafetyParams(tilt_deg=30.0, battery_floor=0.15))
    assert drive(made, READY, 0).twist is not None
    bad = replace(READY, **state)
    decision = made.tick(bad, 10 * MS)
    assert (decision.twist, decision.reasons) == (STOP, (reason,))
    assert drive(made, bad, 20).reasons == (reason,)
    assert drive(made, READY, 30).twist is not None


def test_a_battery_that_recovers_by_resting_does_not_stutter() -> None:
    watch = Watch(SafetyParams(battery_floor=0.15))
    charges = (0.16, 0.14, 0.16, 0.19)
    said = [watch.refuse(replace(READY, battery=charge)) for charge in charges]
    assert said == ["", "battery_low", "battery_low", ""]


def test_what_is_off_needs_to_know_nothing() -> None:
    assert drive(pipeline(SafetyParams()), VehicleState(ready=True), 0).twist is not None


CIRCLE = FenceParams(shape="circle", radius_m=5.0)
BOX = FenceParams(shape="box", x=1.0, half_x_m=4.0, half_y_m=2.0)


@pytest.mark.parametrize("params", [CIRCLE, BOX])
def test_a_fence_closes_the_way_out_and_leaves_the_way_back_and_the_turn(
    params: FenceParams,
) -> None:
    fence = Fence(params)
    edge = replace(READY, x=4.9)
    assert fence.hold(Twist(1.0, yaw=0.5), edge) == (Twist(yaw=0.5), "geofence")
    assert fence.hold(Twist(-1.0), edge) == (Twist(-1.0), "")
    outside = replace(READY, x=7.0)
    assert fence.hold(Twist(-1.0), outside) == (Twist(-1.0), "")
    assert fence.hold(Twist(1.0), outside)[1] == "geofence"
    turned = replace(edge, yaw=math.pi)
    assert fence.hold(Twist(1.0), turned)[1] == ""


def test_a_fence_without_a_position_holds_still() -> None:
    lost = replace(READY, x=None)
    assert Fence(CIRCLE).hold(Twist(1.0, yaw=0.5), lost) == (Twist(yaw=0.5), "position_unknown")


def test_a_vehicle_that_reaches_the_fence_between_two_commands_is_stopped() -> None:
    made = pipeline(SafetyParams(fence=CIRCLE))
    assert drive(made, READY, 0).twist is not None
    decision = made.tick(replace(READY, x=4.9), 20 * MS)
    assert (decision.twist, decision.reasons) == (STOP, ("geofence",))


@given(
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.floats(-4, 4),
    st.floats(-2, 2),
    st.sampled_from([CIRCLE, BOX]),
)
def test_no_command_drives_out_of_a_fence(
    x: float, y: float, yaw: float, speed: float, params: FenceParams
) -> None:
    """One look ahead at a held speed never ends outside, but on the way back in."""
    vehicle = replace(READY, x=x, y=y, yaw=yaw)
    fence = Fence(params)
    held, _ = fence.hold(Twist(speed), vehicle)
    ahead = params.ahead_s * held.x
    then = fence._outside(x + ahead * math.cos(yaw), y + ahead * math.sin(yaw))
    assert then <= max(0.0, fence._outside(x, y)) + 1e-9


def test_the_limits_shrink_with_the_delay_and_recover_slowly() -> None:
    quality = LinkQuality(LinkParams(slow_from_ms=100, slow_to=0.2), max_delay_s=0.5)
    assert quality.scale(50 * MS) == 1.0
    assert quality.scale(300 * MS) == pytest.approx(0.6)
    assert quality.scale(500 * MS) == pytest.approx(0.2)
    assert quality.scale(0) == pytest.approx(0.3)
    assert quality.scale(None) == 1.0
    assert [quality.scale(0) for _ in range(30)][-1] == 1.0


def test_a_slow_link_slows_the_robot_by_name() -> None:
    made = Pipeline(TeleopParams(lease=BOTH))
    reasons: tuple[str, ...] = ()
    for step in range(40):
        late_ms = 0 if step < 20 else 400
        now_ns = (step * 50 + late_ms) * MS
        envelope = Envelope(issued_ns=step * 50 * MS)
        decision = made.command(Command("nats", Twist(1.0), now_ns, envelope), READY, now_ns)
        assert decision.twist is not None
        made.sent(decision.twist, now_ns)
        reasons = decision.reasons
    assert "slow_link" in reasons
    assert decision.twist is not None
    assert decision.twist.x < 0.5


def say(neutral: Neutral, at_ms: int, x: float, operator: str = "") -> str:
    return neutral.refuse(Command("nats", Twist(x), at_ms * MS, Envelope(operator)), at_ms * MS)


@pytest.mark.parametrize("operator", ["", "ada"])
def test_a_key_held_over_the_clearing_must_be_let_go_first(operator: str) -> None:
    neutral = Neutral()
    say(neutral, 0, 0.4, operator)
    neutral.cleared(10 * MS)
    assert say(neutral, 20, 0.4, operator) == "not_neutral"
    assert say(neutral, 40, 0.4, operator) == "not_neutral"
    assert say(neutral, 60, 0.0, operator) == ""
    assert say(neutral, 80, 0.4, operator) == ""


def test_another_persons_zero_lets_go_of_nothing() -> None:
    neutral = Neutral()
    say(neutral, 0, 0.4, "ada")
    neutral.cleared(10 * MS)
    assert say(neutral, 15, 0.0, "eve") == ""
    assert say(neutral, 20, 0.4, "ada") == "not_neutral"


def test_silence_lets_go_only_for_who_has_no_name() -> None:
    later_ms = RELEASED_NS // MS + 1
    for operator, said in (("", ""), ("ada", "not_neutral")):
        neutral = Neutral()
        say(neutral, 0, 0.4, operator)
        neutral.cleared(10 * MS)
        assert say(neutral, later_ms, 0.4, operator) == said


def test_a_key_held_over_a_restart_is_held_still() -> None:
    neutral = Neutral()
    neutral.cleared(0)
    assert say(neutral, 30, 0.4) == "not_neutral"
    assert say(neutral, 80, 0.4) == "not_neutral"
    assert say(neutral, 130, 0.0) == ""
    assert say(neutral, 180, 0.4) == ""


def test_who_let_go_before_the_clearing_drives_at_once() -> None:
    neutral = Neutral()
    say(neutral, 0, 0.4, "ada")
    say(neutral, 10, 0.0, "ada")
    neutral.cleared(20 * MS)
    assert say(neutral, 30, 0.4, "ada") == ""
