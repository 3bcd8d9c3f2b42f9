"""Whose commands move the robot: lease, first come, autonomy, deadman."""

from __future__ import annotations

import pytest

from dialtone_core.command import STOP, Command, Envelope, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import LeaseParams, SourceParams, TeleopParams
from dialtone_teleop.pipeline import Decision, Pipeline

READY = VehicleState(ready=True, link=True, speed_mps=0.0, turn_rps=0.0)
MS = 1_000_000
PARAMS = TeleopParams(
    sources={
        "nav": SourceParams(priority=10, autonomy=True),
        "cmd_vel": SourceParams(priority=50),
        "nats": SourceParams(priority=60),
    },
    lease=LeaseParams(implicit=("cmd_vel",)),
)


def drive(pipeline: Pipeline, source: str, at_ms: int, operator: str = "") -> Decision:
    command = Command(source, Twist(0.4), at_ms * MS, Envelope(operator))
    decision = pipeline.command(command, READY, at_ms * MS)
    if decision.twist is not None:
        pipeline.sent(decision.twist, at_ms * MS)
    return decision


def test_who_names_himself_needs_the_lease() -> None:
    pipeline = Pipeline(PARAMS)
    assert drive(pipeline, "nats", 0, "ada").reasons == ("no_lease",)
    pipeline.authority.lease.acquire("ada", "operator", 1 * MS)
    assert drive(pipeline, "nats", 2, "ada").twist is not None
    assert drive(pipeline, "nats", 3, "eve").reasons == ("lease_held",)


def test_who_names_nobody_drives_only_from_a_listed_source() -> None:
    pipeline = Pipeline(PARAMS)
    assert drive(pipeline, "nats", 0).reasons == ("no_lease",)
    assert drive(pipeline, "cmd_vel", 1).twist is not None


def test_a_lease_that_is_held_beats_whoever_came_first() -> None:
    pipeline = Pipeline(PARAMS)
    assert drive(pipeline, "cmd_vel", 0).twist is not None
    pipeline.authority.lease.acquire("ada", "operator", 10 * MS)
    decision = pipeline.tick(READY, 10 * MS)
    assert (decision.twist, decision.reasons) == (STOP, ("lease_held",))
    assert drive(pipeline, "cmd_vel", 20).reasons == ("lease_held",)


@pytest.mark.parametrize("how", ["expires", "released", "forced"])
def test_a_driver_who_loses_the_lease_is_stopped(how: str) -> None:
    pipeline = Pipeline(PARAMS)
    lease = pipeline.authority.lease
    lease.acquire("ada", "operator", 0)
    assert drive(pipeline, "nats", 1990, "ada").twist is not None
    if how == "released":
        lease.release("ada", 1995 * MS)
    elif how == "forced":
        lease.force("eve", "admin", 1995 * MS)
    decision = pipeline.tick(READY, 2000 * MS)
    assert decision.twist == STOP
    assert decision.reasons == (("lease_held",) if how == "forced" else ("no_lease",))


def test_autonomy_needs_no_lease_and_gives_way_to_any_person() -> None:
    pipeline = Pipeline(PARAMS)
    pipeline.authority.lease.acquire("ada", "operator", 0)
    assert drive(pipeline, "nav", 1).twist is not None
    assert drive(pipeline, "nats", 2, "ada").twist is not None
    assert drive(pipeline, "nav", 3).reasons == ("outranked",)


def test_autonomy_that_ranks_beside_a_person_is_a_wrong_setting() -> None:
    sources = {"nav": SourceParams(priority=50, autonomy=True), "joy": SourceParams(priority=50)}
    with pytest.raises(ValueError, match=r"sources\.nav\.priority is 50"):
        TeleopParams(sources=sources)


def test_a_deadman_must_be_pressed_and_letting_go_stops() -> None:
    params = TeleopParams(
        sources={"joy": SourceParams(deadman="joy/deadman")},
        lease=LeaseParams(implicit=("joy",)),
    )
    pipeline = Pipeline(params)
    assert drive(pipeline, "joy", 0).reasons == ("deadman",)
    pipeline.arbiter.set_deadman("joy", True, 1 * MS)
    assert drive(pipeline, "joy", 2).twist is not None
    pipeline.arbiter.set_deadman("joy", False, 3 * MS)
    assert pipeline.tick(READY, 4 * MS).twist == STOP
    pipeline.arbiter.set_deadman("joy", True, 5 * MS)
    assert drive(pipeline, "joy", 250).twist is not None
    assert pipeline.tick(READY, 256 * MS).reasons == ("deadman",), "a silent deadman is let go"
