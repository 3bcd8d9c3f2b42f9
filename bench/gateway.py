"""What the web costs and how fresh it is: pictures to browsers, and the API beside them.

A real NATS server, a process that publishes 640×480 JPEGs at 30 Hz, the gateway, and viewers in a
process of their own; the baseline of a picture's age is that at a bare NATS client in the same
seconds. ``key_to_wire_p50_ms`` and ``page_interactive_s`` are measured in Chromium on a whole
robot (``web/e2e/measure.mjs``), where Node and Chromium are.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from dialtone_bridge.nats_server import find_binary
from dialtone_bringup.rig import running
from dialtone_core.ports import free_ports, is_free
from dialtone_core.process import die_with_parent
from harness import CpuMeter, Progress, Row, main, percentile, row

DEFAULT_RUNS = 3
MEASURE_S = 8.0
VIEWERS = 20
STALLED = 5
API_HZ = 200.0
_LOADS = str(Path(__file__).with_name("gateway_loads.py"))
_PASSWORD = "benchmark only"
_WEB = Path(__file__).parents[1] / "web"
#: Ends the name of a figure that is another's baseline.
_BARE = " bare"
Figures = defaultdict[tuple[str, str], list[float]]


@dataclass(frozen=True)
class Site:
    """A gateway that runs, its NATS server, and a login."""

    url: str
    nats_url: str
    token: str
    process: psutil.Process


async def run(runs: int, progress: Progress) -> list[Row]:
    """``runs`` windows of each kind on one gateway."""
    figures: Figures = defaultdict(list)
    async with site() as running:
        figures["rss_mb_idle", "MiB"].append(running.process.memory_info().rss / 2**20)
        for number in range(runs):
            progress(f"run {number + 1} of {runs}: one viewer, {MEASURE_S:g} s")
            await _latency(running, figures)
            progress(f"run {number + 1} of {runs}: {VIEWERS} viewers")
            await _many(running, figures)
            progress(f"run {number + 1} of {runs}: {STALLED} stalled ones beside them")
            with load("stalled", running.url, running.token, str(STALLED)):
                await _many_beside_stalled(running, figures)
            progress(f"run {number + 1} of {runs}: API at {API_HZ:g}/s beside a viewer")
            await _api(running, figures)
        figures["rss_mb_after", "MiB"].append(running.process.memory_info().rss / 2**20)
    size_kb = script_kb()
    if size_kb is not None:
        figures["js_gzip_kb", "kB"].append(size_kb)
    progress("key presses and loads of the page in Chromium")
    await _browser(figures, progress)
    return [
        row(name, values, unit, figures.get((f"{name}{_BARE}", unit)))
        for (name, unit), values in figures.items()
        if not name.endswith(_BARE)
    ]


async def _latency(at: Site, figures: Figures) -> None:
    told, bare = await asyncio.gather(
        finish("viewers", at.url, at.token, "1", str(MEASURE_S)),
        finish("subscriber", at.nats_url, str(MEASURE_S)),
    )
    for percent in (50, 99):
        name = f"frame_p{percent}_ms"
        figures[name, "ms"].append(percentile(told["ages_ms"], percent))
        figures[name + _BARE, "ms"].append(percentile(bare["ages_ms"], percent))


async def _many(at: Site, figures: Figures) -> None:
    told, cpu_percent = await _watched(at)
    figures["viewers20_cpu_percent", "%"].append(cpu_percent)
    figures["viewers20_lost", "frames"].append(told["lost"])
    figures["viewers20_shown", "frames"].append(told["shown"])
    figures["viewers20_p99_ms", "ms"].append(percentile(told["ages_ms"], 99))


async def _many_beside_stalled(at: Site, figures: Figures) -> None:
    told, cpu_percent = await _watched(at)
    figures["viewers20_stalled_lost", "frames"].append(told["lost"])
    figures["viewers20_stalled_cpu_percent", "%"].append(cpu_percent)


async def _watched(at: Site) -> tuple[dict[str, Any], float]:
    """What the viewers told, and the gateway's CPU from the moment all of them had a picture."""
    meters: list[CpuMeter] = []
    told = await finish(
        "viewers", at.url, at.token, str(VIEWERS), str(MEASURE_S),
        working=lambda: meters.append(CpuMeter({"gateway": at.process})),
    )  # fmt: skip
    return told, meters[0].percent()["gateway"]


async def _api(at: Site, figures: Figures) -> None:
    viewing = asyncio.create_task(finish("viewers", at.url, at.token, "1", str(MEASURE_S + 2)))
    told = await finish("api", at.url, at.token, str(API_HZ), str(MEASURE_S))
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} API requests failed")
    figures["api_p50_ms", "ms"].append(percentile(told["latencies_ms"], 50))
    figures["api_p99_ms", "ms"].append(percentile(told["latencies_ms"], 99))
    await viewing


async def _browser(figures: Figures, progress: Progress) -> None:
    """Key press to the command at a NATS client, and time until the page can be used."""
    node, chromium = shutil.which("node"), shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if node is None or chromium is None or not (_WEB / "node_modules").is_dir():
        progress("left out: no Node, no Chromium, or no npm ci in web/")
        return
    async with running(robot="bench") as rig:
        await rig.ready()
        url = await asyncio.to_thread(_address, rig.home / "gateway/bench/listening.json")
        process = await asyncio.create_subprocess_exec(
            node, "e2e/measure.mjs", cwd=_WEB, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "CHROMIUM": chromium, "DIALTONE_URL": url,
                 "DIALTONE_NATS_URL": rig.nats_url, "DIALTONE_ROBOT": "bench"},
        )  # fmt: skip
        said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the measurement in Chromium failed")
    told = json.loads(said)
    for name, unit in _IN_BROWSER.items():
        figures[name, unit].append(told[name])


_IN_BROWSER = {
    "key_to_wire_p50_ms": "ms",
    "key_to_wire_p99_ms": "ms",
    "presses_lost": "presses",
    "page_interactive_s": "s",
    "frame_shown_ms": "ms",
}


def script_kb() -> float | None:
    """The built dashboard's JavaScript, gzipped; ``None`` where it is not built."""
    scripts = list((Path(__file__).parents[1] / "web/dist").rglob("*.js"))
    return sum(len(gzip.compress(each.read_bytes(), 9)) for each in scripts) / 1e3 or None


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """A server, a camera and a gateway; everything ends on leaving."""
    (nats_port,) = free_ports(1)
    url = f"nats://127.0.0.1:{nats_port}"
    with tempfile.TemporaryDirectory(prefix="dialtone-bench-") as home:
        os.environ["DIALTONE_HOME"] = home
        with (
            child(str(find_binary()), "-a", "127.0.0.1", "-p", str(nats_port)),
            _listening(nats_port),
            load("camera", url),
            child(
                sys.executable, "-m", "dialtone_gateway.main", "--robot", "bench", "--port", "0",
                "--nats-url", url, DIALTONE_PASSWORD=_PASSWORD,
            ) as gateway,
        ):  # fmt: skip
            address = await asyncio.to_thread(
                _address, Path(home) / "gateway/bench/listening.json", gateway
            )
            async with aiohttp.ClientSession() as http:
                body = {"uuid": "admin", "password": _PASSWORD}
                async with http.post(f"{address}/login", json=body) as response:
                    token = (await response.json())["token"]
            yield Site(address, url, token, psutil.Process(gateway.pid))


def _address(file: Path, gateway: subprocess.Popen[str] | None = None) -> str:
    """Where it listens; blocks until it does."""
    for _ in range(400):
        if file.exists():
            return str(json.loads(file.read_text())["url"])
        if gateway is not None and gateway.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the gateway did not start")


@contextmanager
def _listening(port: int) -> Iterator[None]:
    for _ in range(200):
        if not is_free(port):
            break
        time.sleep(0.05)
    yield


@contextmanager
def child(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with us."""
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=die_with_parent(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def load(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A load that works while inside."""
    with child(sys.executable, _LOADS, *arguments) as process:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("working"):
            raise RuntimeError(f"the load {arguments[0]} did not start")
        yield process


async def finish(*arguments: str, working: Callable[[], None] | None = None) -> dict[str, Any]:
    """Run a load that ends by itself; what it told. ``working`` is called once it works."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, _LOADS, *arguments,
        stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent(),
        limit=64 * 1024 * 1024,
    )  # fmt: skip
    assert process.stdout is not None
    if await process.stdout.readline() and working is not None:
        working()
    said = await process.stdout.read()
    if await process.wait() != 0:
        raise RuntimeError(f"the load {arguments[0]} failed")
    told: dict[str, Any] = json.loads(said)
    return told


if __name__ == "__main__":
    main("gateway", run, DEFAULT_RUNS)
