"""The quick faults of the campaign, on one robot; ``dialtone bench teleop`` runs them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dialtone_bringup import faults, faults_line, faults_process
from dialtone_bringup.campaign import Fault, Scene, run_fault
from dialtone_bringup.faults_line import LineFault, run_line_fault
from dialtone_bringup.observer import Observer, observing
from dialtone_bringup.rig import Rig, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK: tuple[Fault, ...] = (
    faults.two_fight,
    faults.holder_vanished,
    faults.commands_replayed,
    faults.clock_stepped,
    faults.noise_on_the_line,
    faults.network_stalled_within_the_lease,
    faults_process.autopilot_rebooted,
    faults_process.bridge_killed,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Rig, Observer]]:
    with observing(tmp_path_factory.mktemp("campaign")) as (observer, params):
        options = ("--params-file", str(params), "--camera", "none")
        async with running(*options, robot="campaign") as rig:
            await rig.ready()
            yield rig, observer


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.__name__)
async def test_a_fault_moves_nothing_that_nobody_may_move(
    scene: tuple[Rig, Observer], fault: Fault
) -> None:
    assert await run_fault(*scene, fault, estop=False) == []


async def test_an_e_stop_in_the_middle_of_a_fight_stops_both(scene: tuple[Rig, Observer]) -> None:
    assert await run_fault(*scene, faults.two_fight, estop=True) == []


async def test_a_key_held_over_a_cleared_e_stop_moves_nothing(
    scene: tuple[Rig, Observer],
) -> None:
    assert await run_fault(*scene, faults.estop_and_held_key, estop=False) == []


async def test_ten_thousand_fuzzed_commands_move_nothing(scene: tuple[Rig, Observer]) -> None:
    async def fuzzed(on: Scene) -> None:
        await faults.fuzzed_commands(on, 10_000)

    assert await run_fault(*scene, fuzzed, estop=False) == []


@pytest.mark.parametrize(
    ("fault", "estop"),
    [
        (faults_line.serial_unplugged_mid_write, False),
        (faults_line.ekf_not_ready, True),
        (faults_line.robots_clock_stepped, True),
    ],
    ids=lambda each: getattr(each, "__name__", "with e-stop" if each else ""),
)
async def test_a_fault_of_the_line_or_the_vehicle_moves_nothing_that_nobody_may_move(
    fault: LineFault, estop: bool
) -> None:
    assert await asyncio.to_thread(run_line_fault, fault, estop) == []
