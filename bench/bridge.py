"""The bridge at wire speed: floods, cameras, a stalled viewer, commands, a soak, discovery.

A bridge and a NATS server without login, no robot. Loads and clients are processes of their own
(``bridge_loads.py``). The baseline (``baselines/bridge.py``) gets the same floods in the same run.
CPU a message is that of the bridge process over the messages delivered. ``DIALTONE_BENCH_SOAK_S``,
``_FLOOD_S`` and ``_LINKCUT_S`` shorten what takes 10 minutes, 10 seconds and one minute;
``DIALTONE_BENCH_PARTS`` names what to measure: ``floods cameras storm soak linkcut``.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import bridge_linkcut
from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.nats_server import find_binary
from dialtone_bringup.environment import transport_environment
from dialtone_core.paths import RobotFile
from dialtone_core.ports import free_ports
from dialtone_core.process import die_with_parent
from dialtone_core.wire import telemetry_subject
from dialtone_ros.domain import FreeDomain
from harness import Progress, Row, main, percentile, row

DEFAULT_RUNS = 3
ROBOT = "bench"
FLOOD_HZ, FLOOD_BYTES = 10_000, 1024
CAMERAS, CAMERA_HZ, PICTURE_BYTES = 4, 30, 200_000
CLIENTS = 20
#: A load that cannot reach the bridge or its server would wait for ever.
_READY_S = 60
_HERE = Path(__file__).parent
_LOADS = str(_HERE / "bridge_loads.py")
Figures = defaultdict[str, list[float]]


class Load:
    """A process of ``bridge_loads.py`` that works until its result is asked for."""

    def __init__(self, *arguments: str, script: str = _LOADS, ready: bool = True) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(),
        )
        self._name = arguments[0]
        self.pid = self._process.pid
        if ready:
            self.ready()

    def ready(self) -> None:
        assert self._process.stdout is not None
        there, _, _ = select.select([self._process.stdout], [], [], _READY_S)
        if not there or self._process.stdout.readline().strip() != "working":
            raise RuntimeError(f"the load {self._name} did not start within {_READY_S} s")

    def tell(self) -> None:
        """Send the line that it waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    async def result(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        result: dict[str, Any] = json.loads(line)
        return result

    def end(self) -> None:
        self._process.kill()  # it holds nothing, and rclpy would swallow a SIGTERM
        self._process.wait()


@contextmanager
def load(*arguments: str, script: str = _LOADS) -> Iterator[Load]:
    made = Load(*arguments, script=script)
    try:
        yield made
    finally:
        made.end()


class Bench:
    """A running bridge and NATS server, and what was measured on them."""

    def __init__(self, progress: Progress, bridge: psutil.Process, file: RobotFile) -> None:
        self.progress = progress
        self.bridge = bridge
        self.nats = file.nats_url
        self.foxglove = file.foxglove_url
        self.figures: Figures = defaultdict(list)

    def where(self, transport: str, topics: Sequence[str]) -> list[str]:
        """Arguments of a client: its server and the names of ``topics`` there."""
        if transport == "nats":
            return ["nats", self.nats, *(telemetry_subject(ROBOT, f"/{t}") for t in topics)]
        return ["foxglove", self.foxglove, *(f"/{topic}" for topic in topics)]

    def cpu_s(self) -> float:
        return _cpu_s(self.bridge)

    def rss_mb(self) -> float:
        return float(self.bridge.memory_info().rss / 2**20)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def run(runs: int, progress: Progress) -> list[Row]:
    """Every measurement ``runs`` times, but the soak once."""
    parts = os.environ.get("DIALTONE_BENCH_PARTS", "floods cameras storm soak linkcut").split()
    with FreeDomain() as domain, tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "ROS_DOMAIN_ID": str(domain.number),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "DIALTONE_HOME": home,
            **transport_environment(os.environ),
        }
        with _bridge(home) as process:
            bench = Bench(progress, process, await asyncio.to_thread(_listening, home))
            for number in range(runs):
                bench.progress(f"run {number + 1} of {runs}")
                if "floods" in parts:
                    await _floods(bench)
                if "cameras" in parts:
                    await _cameras(bench, stalled=False)
                    await _cameras(bench, stalled=True)
                if "storm" in parts:
                    await _storm(bench)
            if "soak" in parts:
                await _soak(bench)
    rows = _rows(bench.figures)
    if "linkcut" in parts:
        seconds = float(os.environ.get("DIALTONE_BENCH_LINKCUT_S", bridge_linkcut.SECONDS))
        rows += await bridge_linkcut.rows(1, progress, seconds)
    return rows


@contextmanager
def _bridge(home: str) -> Iterator[psutil.Process]:
    port, leaf = free_ports(2)
    config = Path(home, "bench.conf")
    config.write_text(
        f"listen: 127.0.0.1:{port}\nmax_payload: 8MB\nleafnodes {{ listen: 127.0.0.1:{leaf} }}\n"
    )
    started = []
    bridge = [sys.executable, "-m", "dialtone_bridge.node", "--ros-args", *_params(port, leaf)]
    with Path(home, "bench.log").open("wb") as log:
        for command in ([str(find_binary()), "-c", str(config)], bridge):
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent())
            )
    try:
        yield psutil.Process(started[-1].pid)
    finally:
        for each in reversed(started):
            each.terminate()
            each.wait(15)


def _params(port: int, leaf: int) -> list[str]:
    params = {
        "robot": ROBOT,
        "nats_url": f"nats://127.0.0.1:{port}",
        "nats_leaf": f"127.0.0.1:{leaf}",
        "foxglove_port": "0",
        "discovery_period_s": "0.2",
    }
    return [word for name, value in params.items() for word in ("-p", f"{name}:={value}")]


def _listening(home: str) -> RobotFile:
    deadline = time.monotonic() + 20
    while (found := RobotFile.read(ROBOT)) is None:
        if time.monotonic() > deadline:
            log = Path(home, "bench.log").read_text(errors="replace")
            raise RuntimeError(f"the bridge did not come up within 20 s: {log[-500:]}")
        time.sleep(0.05)
    return found


async def _floods(bench: Bench) -> None:
    seconds = float(os.environ.get("DIALTONE_BENCH_FLOOD_S", "10"))
    for transport in ("nats", "foxglove"):
        for name, rate in (("10k", FLOOD_HZ), ("saturated", 0)):
            bench.progress(f"{name} flood into {transport}")
            client = bench.where(transport, ["flood"])
            await _flood(bench, f"{transport}_{name}", bench.bridge, client, rate, seconds)
    script = str(_HERE / "baselines" / "bridge.py")
    with load(bench.nats, "flood", script=script) as baseline:
        process = psutil.Process(baseline.pid)
        for name, rate in (("10k", FLOOD_HZ), ("saturated", 0)):
            bench.progress(f"{name} flood into the baseline")
            client = ["nats", bench.nats, "baseline.flood"]
            await _flood(bench, f"baseline_{name}", process, client, rate, seconds)


async def _flood(
    bench: Bench,
    name: str,
    process: psutil.Process,
    client: Sequence[str],
    rate: float,
    seconds: float,
) -> None:
    """One flood and what came of it: lost, CPU a message delivered, rate delivered."""
    options = ("--rate-hz", str(rate), "--seconds", str(seconds), "--size", str(FLOOD_BYTES))
    flood = Load("flood", *options, "flood", ready=False)
    counter = Load("count", *client)
    try:
        flood.ready()
        await asyncio.sleep(1.0)  # the exchange of DDS matches goes on behind the first one
        before_s = _cpu_s(process)
        flood.tell()
        sent = (await flood.result())["sent"]
        await asyncio.sleep(2.0)
        counter.tell()
        got = await counter.result()
        cpu_s = _cpu_s(process) - before_s
    finally:
        flood.end()
        counter.end()
    count = max(got["count"], 1)
    bench.figures[f"{name}_lost"].append(sent - got["count"])
    bench.figures[f"{name}_cpu_us"].append(cpu_s / count * 1e6)
    bench.figures[f"{name}_rate"].append(got["count"] / max(got["seconds"], 0.001))
    bench.figures[f"{name}_offered"].append(sent / seconds)


async def _cameras(bench: Bench, stalled: bool) -> None:
    """Four cameras to a client of each kind, at once; then with a viewer that never reads."""
    bench.progress(f"cameras{' beside a stalled viewer' if stalled else ''}")
    seconds = float(os.environ.get("DIALTONE_BENCH_FLOOD_S", "10"))
    topics = [f"camera/bench{number}/image_raw/compressed" for number in range(CAMERAS)]
    options = ("--kind", "picture", "--size", str(PICTURE_BYTES), "--rate-hz", str(CAMERA_HZ))
    camera = Load("flood", *options, "--seconds", str(seconds + 4), *topics, ready=False)
    viewers = [Load("watch", *bench.where(each, topics)) for each in ("nats", "foxglove")]
    if stalled:
        names = [f"/{topic}" for topic in topics]
        viewers.append(Load("stall", bench.foxglove, *names))
    driver = Load("commands", bench.nats, ROBOT, "--number", str(int(50 * (seconds - 1))))
    try:
        camera.ready()
        await asyncio.sleep(1.0)
        before_mb = bench.rss_mb()
        camera.tell()
        await asyncio.sleep(2.0)
        before_s, began = bench.cpu_s(), time.monotonic()
        driver.tell()
        commands = await driver.result()
        cpu = 100 * (bench.cpu_s() - before_s) / (time.monotonic() - began)
        sent = (await camera.result())["sent"]
        await asyncio.sleep(1.0)
        grown_mb = bench.rss_mb() - before_mb
        seen = []
        for viewer in viewers[:2]:
            viewer.tell()
            seen.append(await viewer.result())
    finally:
        for each in (camera, driver, *viewers):
            each.end()
    _camera_figures(bench.figures, stalled, sent, seen, commands, cpu, grown_mb)


def _camera_figures(
    figures: Figures,
    stalled: bool,
    sent: int,
    seen: list[dict[str, Any]],
    commands: dict[str, Any],
    cpu_percent: float,
    grown_mb: float,
) -> None:
    lost = sum(sent - each["received"] for each in seen)
    if stalled:
        figures["camera_stalled_lost"].append(lost)
        figures["camera_stalled_rss_growth_mb"].append(grown_mb)
        return
    figures["camera_lost"].append(lost)
    both = [ms for each in seen for ms in each["latencies_ms"]]
    figures["camera_p50_ms"].append(percentile(both, 50))
    figures["camera_p99_ms"].append(percentile(both, 99))
    figures["camera_cpu_percent"].append(cpu_percent)
    figures["command_p99_ms"].append(percentile(commands["latencies_ms"], 99))
    figures["command_lost"].append(commands["sent"] - len(commands["latencies_ms"]))


async def _storm(bench: Bench) -> None:
    """From the first of 200 publishers until a Foxglove client knows the last topic."""
    bench.progress("200 topics at once")
    async with open_client(bench.foxglove) as viewer:
        await viewer.wait_channel("/diagnostics")
        with load("topics", "200") as storm:
            storm.tell()
            began_ns = (await storm.result())["began_ns"]
            for number in range(200):
                await viewer.wait_channel(f"/storm/t{number}", 30)
            bench.figures["discovery_200_s"].append((time.time_ns() - began_ns) / 1e9)


async def _soak(bench: Bench) -> None:
    """Clients that come, look at a camera and a flood, and go; memory after a tenth and at end."""
    seconds = float(os.environ.get("DIALTONE_BENCH_SOAK_S", "600"))
    topics = ["soak/a", "soak/b"]
    options = ("--rate-hz", "100", "--size", "20000", "--seconds", str(seconds + 30))
    flood = Load("flood", *options, *topics, ready=False)
    end = time.monotonic() + seconds
    warm = time.monotonic() + max(seconds / 10, 5)
    first: list[float] = []

    async def come_and_go(number: int) -> None:
        await asyncio.sleep(number * 0.1)
        while time.monotonic() < end:
            async with open_client(bench.foxglove) as viewer:
                for topic in topics:
                    await viewer.subscribe(f"/{topic}", 30)
                for _ in range(100 + 10 * number):
                    await viewer.receive(30)
            if not first and time.monotonic() > warm:
                first.append(bench.rss_mb())

    bench.progress(f"{CLIENTS} clients come and go for {seconds:g} s")
    try:
        waiting = asyncio.gather(*(come_and_go(number) for number in range(CLIENTS)))
        await asyncio.to_thread(flood.ready)
        flood.tell()
        await waiting
        growth = 100 * (bench.rss_mb() - first[0]) / first[0]
        bench.figures["soak_rss_growth_percent"].append(growth)
    finally:
        flood.end()


_UNITS = {"lost": "1", "us": "µs", "rate": "1/s", "ms": "ms", "percent": "%", "mb": "MiB"}


def _rows(figures: Figures) -> list[Row]:
    """Rows in the order measured; floods beside the baseline's."""
    rows = []
    for name, values in figures.items():
        if name.startswith("baseline_"):
            continue
        stem = name.removeprefix("nats_").removeprefix("foxglove_")
        unit = _UNITS.get(name.rsplit("_", 1)[-1], "s" if name.endswith("_s") else "1/s")
        rows.append(row(name, values, unit, figures.get(f"baseline_{stem}")))
    return rows


if __name__ == "__main__":
    main("bridge", run, DEFAULT_RUNS)
