"""What one must be able to trust: from command to wire, from silence to stop, and the faults.

All figures come from whole simulated robots; the vehicle reports the kernel's receive stamp of
each setpoint, and operators publish over NATS from this process. ``p50_ms``/``p99_ms``: publish to
vehicle at 50 Hz, with four cameras of 30 Hz × 200 KB streaming to a NATS and a Foxglove client.
``stop_after_silence_*``: from the setpoint of the last command to the first zero, both as received
from the wire, less the source's timeout, in 1,000 trials, one after the other; that timeout is
0.1 s there so that a trial takes 0.2 s (the watchdog sleeps until a deadline, whatever it is).
``late_stops`` are those above 20 ms. ``estop_p99_ms``: from the publish of the request to the
first zero, while driving. ``unsafe_setpoints``: see ``dialtone_bringup.observer``; each fault of
``dialtone_bringup.faults`` is run twice, the second time with an e-stop in its middle, and so is
each of ``faults_line`` on a robot at a serial cable (``line_unsafe_setpoints``).
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import loads
from dialtone_bringup.campaign import run_fault
from dialtone_bringup.faults import FAULTS
from dialtone_bringup.faults_line import LINE_FAULTS, run_line_fault
from dialtone_bringup.observer import AHEAD, Observer, Person, Seen, observing
from dialtone_bringup.rig import CAMERA, Operator, Rig, repeat, running, until
from dialtone_core.command import Command, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import LeaseParams, TeleopParams
from dialtone_teleop.pipeline import Pipeline
from harness import Progress, Row, main, percentile, row

DEFAULT_RUNS = 3
RATE_HZ = 50.0
COMMANDS = 250
TRIALS = 1000
ESTOPS = 100
SHORT_TIMEOUT_S = 0.1
ALLOWED_MS = 20.0
_BASE_YAW, _STEP_YAW = 0.1, 0.001

_SHORT_SOURCES = f"""
/**/teleop:
  ros__parameters:
    sources:
      nats: {{topic: cmd_vel/nats, type: geometry_msgs/msg/TwistStamped, priority: 60,
              timeout_s: {SHORT_TIMEOUT_S}}}
    lease: {{implicit: [nats]}}
"""


@dataclass(frozen=True)
class Stage:
    """One robot whose setpoints are seen, and who drives it."""

    rig: Rig
    observer: Observer
    operator: Operator

    async def first_after(self, since_ns: int, *, zero: bool, timeout_s: float = 3.0) -> int:
        """Receipt (CLOCK_MONOTONIC ns) of the first setpoint since then that moves, or stops."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for seen in self.observer.seen[-200:]:
                if seen.at_ns >= since_ns and (seen.way == 0) == zero:
                    return seen.at_ns
            await asyncio.sleep(0.002)
        raise TimeoutError(f"no {'zero' if zero else 'motion'} within {timeout_s:g} s")


@asynccontextmanager
async def _stage(settings: str, *options: str) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, observing(Path(folder)) as (observer, params):
        params.write_text(params.read_text() + settings)
        async with running("--params-file", str(params), *options, robot="teleop") as rig:
            await rig.ready()
            stage = Stage(rig, observer, Operator(rig, await rig.nats()))

            async def moves() -> bool:
                await stage.operator.send(_command(0))
                return bool(observer.seen) and observer.seen[-1].way != 0

            await until("the robot drives", moves, 20)
            yield stage


async def run(runs: int, progress: Progress) -> list[Row]:
    """Latency ``runs`` times; the trials and the campaign once."""
    rows = [_pipeline(runs)]
    async with _stage("") as stage:
        rows += await _latency(runs, progress, stage)
    async with _stage(_SHORT_SOURCES, "--camera", "none") as stage:
        rows += await _silence(progress, stage)
    async with _stage("", "--camera", "none") as stage:
        rows += await _estops(progress, stage)
        rows += await _campaign(progress, stage)
    rows += await _line_campaign(progress)
    return rows


def _pipeline(runs: int) -> Row:
    """The pure part alone, with every stage that a simulated rover has."""
    ready = VehicleState(ready=True, link=True, roll=0.0, pitch=0.0, yaw=0.0, battery=0.9)
    figures = []
    for _ in range(runs):
        pipeline = Pipeline(TeleopParams(lease=LeaseParams(implicit=("cmd_vel",))))
        took = []
        for number in range(20_000):
            now_ns = number * 20_000_000
            command = Command("cmd_vel", Twist(0.4, yaw=0.1), now_ns)
            began_ns = time.perf_counter_ns()
            decision = pipeline.command(command, ready, now_ns)
            took.append((time.perf_counter_ns() - began_ns) / 1000)
            assert decision.twist is not None
            pipeline.sent(decision.twist, now_ns)
        figures.append(statistics.fmean(took))
    return row("pipeline_us", figures, "µs")


def _command(number: int) -> bytes:
    """A command that its setpoint's yaw rate tells."""
    return b'{"linear":{"x":0.2},"angular":{"z":%.4f}}' % (_BASE_YAW + _STEP_YAW * number)


async def _latency(runs: int, progress: Progress, stage: Stage) -> list[Row]:
    figures: dict[str, list[float]] = {"p50": [], "p99": [], "lost": []}
    with ExitStack() as stack:
        await stage.operator.next(CAMERA)
        rig = stage.rig
        stack.enter_context(loads.process("cameras", domain=rig.domain))
        urls = ("--nats-url", rig.nats_url, "--foxglove-url", rig.foxglove_url)
        names = ("--robot", rig.robot, *loads.camera_topics())
        stack.enter_context(loads.process("viewer", *urls, *names, domain=rig.domain))
        await asyncio.sleep(2)
        for number in range(runs):
            progress(f"latency under load, burst {number + 1} of {runs}")
            latencies = await _burst(stage)
            figures["p50"].append(percentile(latencies, 50))
            figures["p99"].append(percentile(latencies, 99))
            figures["lost"].append(COMMANDS - len(latencies))
    return [
        row("p50_ms", figures["p50"], "ms"),
        row("p99_ms", figures["p99"], "ms"),
        row("lost", figures["lost"], "1"),
    ]


async def _burst(stage: Stage) -> list[float]:
    """Latency (ms) of each command that became a setpoint."""
    sent: list[int] = []
    stage.observer.seen.clear()

    async def step() -> None:
        payload = _command(len(sent))
        sent.append(time.monotonic_ns())
        await stage.operator.send(payload)

    await repeat(step, COMMANDS / RATE_HZ, RATE_HZ)
    await asyncio.sleep(0.2)
    received: dict[int, int] = {}
    for seen in list(stage.observer.seen):
        number = round((-(seen.body.get("yaw_rate") or 0.0) - _BASE_YAW) / _STEP_YAW)
        if 0 <= number < COMMANDS:
            received.setdefault(number, seen.at_ns)
    return [(at_ns - sent[number]) / 1e6 for number, at_ns in received.items()]


async def _silence(progress: Progress, stage: Stage) -> list[Row]:
    after: list[float] = []
    for trial in range(TRIALS):
        if trial % 100 == 0:
            progress(f"silence, trial {trial} of {TRIALS}")
        began_ns = time.monotonic_ns()
        moved_ns = 0
        while not moved_ns:  # a single command may be lost: DDS carries them best effort
            await stage.operator.send(_command(1))
            with suppress(TimeoutError):
                moved_ns = await stage.first_after(began_ns, zero=False, timeout_s=0.05)
        last_ns = time.monotonic_ns()
        await stage.operator.send(_command(2))
        zero_ns = await stage.first_after(max(last_ns, moved_ns), zero=True)
        moved_ns = max(s.at_ns for s in stage.observer.seen[-200:] if s.way and s.at_ns < zero_ns)
        after.append((zero_ns - moved_ns) / 1e6 - SHORT_TIMEOUT_S * 1e3)
        await asyncio.sleep(0.02 + 0.03 * (trial % 10) / 10)
    return [
        row("late_stops", [sum(each > ALLOWED_MS for each in after)], "1"),
        row("silence_trials", [len(after)], "1"),
        row("stop_after_silence_max_ms", [max(after)], "ms"),
        row("stop_after_silence_p50_ms", [percentile(after, 50)], "ms"),
    ]


async def _estops(progress: Progress, stage: Stage) -> list[Row]:
    person = Person(stage.rig.robot, await stage.rig.nats("estops"), "estops/1", AHEAD)
    took: list[float] = []
    progress(f"e-stop, {ESTOPS} times")
    await person.hold()
    for _ in range(ESTOPS):
        await person.send(person.command(0.0))
        began_ns = time.monotonic_ns()
        person.start()
        await stage.first_after(began_ns, zero=False)
        await asyncio.sleep(0.12)
        fired_ns = time.monotonic_ns()
        await person.ask("estop", active=True)
        took.append((await stage.first_after(fired_ns, zero=True) - fired_ns) / 1e6)
        await person.stop()
        await person.ask("estop", active=False)
    await person.ask("lease.release")
    return [
        row("estop_p50_ms", [percentile(took, 50)], "ms"),
        row("estop_p99_ms", [percentile(took, 99)], "ms"),
    ]


async def _campaign(progress: Progress, stage: Stage) -> list[Row]:
    unsafe = done = 0
    for estop in (False, True):
        for fault in FAULTS:
            name = _tell(progress, fault.__name__, estop)
            found = await run_fault(stage.rig, stage.observer, fault, estop)
            unsafe += _count(progress, name, found)
            done += 1
    return [row("unsafe_setpoints", [unsafe], "1"), row("faults_run", [done], "1")]


async def _line_campaign(progress: Progress) -> list[Row]:
    unsafe = done = 0
    for estop in (False, True):
        for fault in LINE_FAULTS:
            name = _tell(progress, fault.__name__, estop)
            found = await asyncio.to_thread(run_line_fault, fault, estop)
            unsafe += _count(progress, name, found)
            done += 1
    return [row("line_unsafe_setpoints", [unsafe], "1"), row("line_faults_run", [done], "1")]


def _tell(progress: Progress, fault: str, estop: bool) -> str:
    name = f"fault {fault}{' with e-stop' if estop else ''}"
    progress(name)
    return name


def _count(progress: Progress, name: str, unsafe: list[Seen]) -> int:
    if unsafe:
        progress(f"{name}: {len(unsafe)} unsafe setpoints, the first {unsafe[0]}")
    return len(unsafe)


if __name__ == "__main__":
    main("teleop", run, DEFAULT_RUNS)
