"""What every actuator promises (``actuators/base.py``), asked of each with its real other end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from actuator_rigs import RIGS, Rig

from dialtone_core.clock import SystemClock
from dialtone_core.command import STOP
from dialtone_core.config import build
from dialtone_core.errors import ConfigError
from dialtone_teleop.actuators.base import Actuator
from dialtone_teleop.actuators.registry import BUILT_IN, actuator_names, make_actuator
from dialtone_teleop.params import TeleopParams

Until = Callable[..., Any]
CLOCK = SystemClock()


class Bench:
    """One actuator, its other end, and what it logged."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.lines: list[tuple[str, str]] = []
        self.steps = 0
        self.actuator: Actuator = make_actuator(rig.params, CLOCK)
        rig.attach(self.actuator)

    def open(self) -> None:
        self.actuator.open(lambda _: None, lambda level, line: self.lines.append((level, line)))

    def reason(self) -> str:
        state = self.actuator.state(CLOCK.monotonic_ns())
        assert state.ready == (not state.reason)
        return state.reason

    def ready(self, until: Until) -> None:
        until("ready", lambda: not self.reason(), 15.0)

    def drive_until_heard(self, until: Until, more_than: int) -> None:
        def heard() -> bool:
            self.actuator.send(self.rig.step)
            self.steps += 1
            return self.rig.heard() > more_than

        until("setpoints are heard", heard)


@pytest.fixture(params=RIGS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    rig = RIGS[request.param](tmp_path)
    made = Bench(rig)
    yield made
    made.actuator.close()
    rig.close()


def test_every_built_in_actuator_has_a_rig() -> None:
    assert {name.split("-")[0] for name in RIGS} == set(BUILT_IN) <= set(actuator_names())


def test_an_unknown_actuator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="give one of mavlink, neck"):
        make_actuator(build(TeleopParams, {"actuator": "warp"}), CLOCK)


def test_making_one_opens_nothing_and_moves_nothing(bench: Bench) -> None:
    before = threading.active_count()
    other = make_actuator(bench.rig.params, CLOCK)
    assert threading.active_count() == before
    assert other.send(bench.rig.step) is None
    state = other.state(CLOCK.monotonic_ns())
    assert not state.ready
    assert state.reason
    other.close()
    other.close()


def test_a_setpoint_reaches_the_vehicle_and_is_reported_as_sent(
    bench: Bench, until: Until
) -> None:
    bench.rig.plug()
    bench.open()
    bench.open()
    bench.ready(until)
    assert bench.actuator.send(bench.rig.step) == bench.rig.step
    bench.drive_until_heard(until, 0)
    assert bench.actuator.state(CLOCK.monotonic_ns()).link


def test_an_explicit_stop_is_always_taken_and_moves_nothing(bench: Bench, until: Until) -> None:
    bench.rig.plug()
    bench.open()
    bench.ready(until)
    bench.drive_until_heard(until, 0)
    for _ in range(30):  # fits a cable's buffer, however long its other end gets no CPU
        assert bench.actuator.send(STOP) == STOP
    bench.drive_until_heard(until, bench.rig.heard())
    assert bench.rig.heard() <= bench.steps


def test_what_is_not_connected_says_why_and_takes_no_motion(bench: Bench, until: Until) -> None:
    if bench.rig.params.actuator == "sim":
        assert bench.reason() == "line_down"
        return
    bench.open()
    assert bench.reason()
    assert bench.actuator.send(bench.rig.step) is None
    assert bench.rig.heard() == 0


def test_a_line_that_is_cut_is_reported_and_heals_by_itself(bench: Bench, until: Until) -> None:
    bench.rig.plug()
    bench.open()
    bench.ready(until)
    if bench.rig.params.actuator != "sim":
        bench.rig.unplug()
        until("noticed", bench.reason)
        bench.actuator.send(bench.rig.step)
        bench.actuator.send(STOP)
        bench.rig.plug()
        bench.ready(until)
    bench.drive_until_heard(until, bench.rig.heard())


def test_threads_may_send_at_the_same_time(bench: Bench, until: Until) -> None:
    bench.rig.plug()
    bench.open()
    bench.ready(until)
    failures: list[BaseException] = []

    def send_many() -> None:
        try:
            for index in range(200):
                bench.actuator.send(STOP if index % 3 else bench.rig.step)
                bench.actuator.state(CLOCK.monotonic_ns())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=send_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not bench.reason()


def test_closing_is_idempotent_and_final(bench: Bench, until: Until) -> None:
    bench.rig.plug()
    bench.open()
    bench.ready(until)
    bench.actuator.arm(True)
    assert all(isinstance(key, str) for key in bench.actuator.figures())
    bench.actuator.close()
    bench.actuator.close()
    assert bench.actuator.send(bench.rig.step) is None
