"""Attitude, body rates and thrust: what passes, and how it looks on the wire."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.command import STOP, Applied, Attitude, Command
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.mavlink_attitude import attitude_target
from dialtone_teleop.params import (
    POSE_STAMPED,
    AttitudeParams,
    FenceParams,
    LeaseParams,
    SafetyParams,
    SourceParams,
    TeleopParams,
)
from dialtone_teleop.pipeline import Decision, Pipeline
from dialtone_teleop.ros_applied import AppliedPublisher
from dialtone_teleop.telemetry import quaternion_from_euler

MS = 1_000_000
READY = VehicleState(ready=True, link=True)
LEVEL = (0.0, 0.0, 0.0, 1.0)


def pipeline(thrust: float = 0.6, shape: str = "none") -> Pipeline:
    return Pipeline(
        TeleopParams(
            sources={"fly": SourceParams(topic="cmd_attitude", type=POSE_STAMPED)},
            attitude=AttitudeParams(thrust=thrust),
            safety=SafetyParams(fence=FenceParams(shape=shape)),
            lease=LeaseParams(implicit=("fly",)),
        )
    )


def fly(made: Pipeline, attitude: Attitude, at_ms: int = 0) -> Decision:
    command = Command("fly", STOP, at_ms * MS, attitude=attitude)
    return made.command(command, READY, at_ms * MS)


def tilted(roll_deg: float, pitch_deg: float) -> tuple[float, float, float, float]:
    return quaternion_from_euler(math.radians(roll_deg), math.radians(pitch_deg), 1.0)


@pytest.mark.parametrize(
    ("attitude", "reason"),
    [
        (Attitude(math.nan, LEVEL), "not_finite"),
        (Attitude(0.5, (0.0, math.inf, 0.0, 1.0)), "not_finite"),
        (Attitude(0.5, (0.0, 0.0, 0.0, 0.5)), "not_unit"),
        (Attitude(0.5, tilted(25, 0)), "limit_tilt"),
        (Attitude(0.5, tilted(0, 170)), "limit_tilt"),
    ],
)
def test_a_wrong_attitude_is_refused_by_name(attitude: Attitude, reason: str) -> None:
    assert fly(pipeline(), attitude).reasons == (reason,)


def test_without_a_thrust_limit_nothing_flies() -> None:
    assert fly(pipeline(thrust=0.0), Attitude(0.1, LEVEL)).reasons == ("attitude_off",)


def test_with_a_fence_nothing_flies() -> None:
    assert fly(pipeline(shape="circle"), Attitude(0.1, LEVEL)).reasons == ("geofence",)


def test_silence_and_the_e_stop_end_it_like_any_other_command() -> None:
    made = pipeline()
    assert fly(made, Attitude(0.5, tilted(10, -10))).attitude is not None
    decision = made.tick(READY, 250 * MS)
    assert (decision.twist, decision.attitude, decision.reasons) == (STOP, None, ("timeout",))
    fly(made, Attitude(0.5, LEVEL), 300)
    made.estop(True, "ada", 310 * MS)
    assert fly(made, Attitude(0.5, LEVEL), 320).reasons == ("estop",)
    made.estop(False, "ada", 330 * MS)
    assert fly(made, Attitude(0.5, LEVEL), 340).reasons == ("not_neutral",)


@given(st.floats(-9, 9), st.tuples(*[st.floats(-99, 99)] * 3))
def test_thrust_and_rates_stay_within_their_limits(
    thrust: float, rates: tuple[float, float, float]
) -> None:
    out = fly(pipeline(), Attitude(thrust, rates=rates)).attitude
    assert out is not None
    assert abs(out.thrust) <= 0.6
    assert all(abs(rate) <= 1.0 for rate in out.rates or ())


def test_a_level_attitude_that_faces_east_points_its_nose_90_degrees_from_north() -> None:
    message = attitude_target(Attitude(0.5, LEVEL), 1, 1, 7)
    assert message.type_mask == 0x07
    half = math.sqrt(0.5)
    assert message.q == pytest.approx([half, 0.0, 0.0, half])
    assert message.thrust == 0.5


def test_body_rates_turn_their_signs_and_keep_their_axes() -> None:
    message = attitude_target(Attitude(0.4, rates=(0.1, 0.2, 0.3)), 1, 1, 7)
    assert message.type_mask == 0x80
    rates = (message.body_roll_rate, message.body_pitch_rate, message.body_yaw_rate)
    assert rates == pytest.approx((0.1, -0.2, -0.3))


class Flyer:
    """Where ``ros_applied`` publishes to."""

    def __init__(self) -> None:
        self.sent: dict[str, list[Any]] = {}

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> Any:
        return SimpleNamespace(publish=self.sent.setdefault(topic, []).append)


def test_what_was_flown_is_told_in_its_own_message_with_thrust_and_reasons() -> None:
    node = Flyer()
    publisher = AppliedPublisher(cast("Any", node), flies=True)
    turn = Attitude(0.25, rates=(0.1, 0.0, -0.2))
    pose = Attitude(0.5, orientation=tilted(10.0, 0.0))
    publisher.publish(
        Applied(STOP, 7, "rates", reasons=("limit_rates",), latency_ns=1_500_000, attitude=turn)
    )
    (why,) = node.sent["teleop/applied_status"]
    values = {pair.key: pair.value for pair in why.values}
    assert (why.message, values["kind"], values["thrust"]) == ("limit_rates", "rates", "0.25")
    assert (values["latency_ms"], values["stamp_ns"]) == ("1.500", "7")
    publisher.publish(Applied(STOP, 8, "poses", attitude=pose))
    angular = node.sent["teleop/applied_rates"][0].twist.angular
    assert (angular.x, angular.y, angular.z) == (0.1, 0.0, -0.2)
    q = node.sent["teleop/applied_attitude"][0].pose.orientation
    assert (q.x, q.y, q.z, q.w) == pose.orientation
    assert node.sent["teleop/applied"] == [], "no velocity went out"
