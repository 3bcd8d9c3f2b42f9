"""What a robot costs that nobody drives: CPU and memory with one camera, one NATS and one
Foxglove client.

``cpu_percent_total`` and ``rss_mb_total`` leave out the two processes that stand in for hardware
(the simulated vehicle and the camera that renders its scene); those have rows of their own.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from dialtone_bridge.clients.foxglove_client import FoxgloveClient, open_client
from dialtone_bringup.rig import CAMERA, SIMULATED, Operator, Rig, running
from harness import CpuMeter, Progress, Row, main, row
from loads import discarding

DEFAULT_RUNS = 3
SETTLE_S = 5.0
MEASURE_S = 10.0


async def run(runs: int, progress: Progress) -> list[Row]:
    """One robot; ``runs`` windows of ``MEASURE_S`` each."""
    figures: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    async with running(robot="idle") as rig:
        await rig.ready()
        async with open_client(rig.foxglove_url) as client, discarding(client):
            await _watch(rig, client)
            progress(f"settling for {SETTLE_S:g} s")
            await asyncio.sleep(SETTLE_S)
            for number in range(runs):
                progress(f"run {number + 1} of {runs}: {MEASURE_S:g} s")
                await _measure(rig, figures)
    return [row(name, values, unit) for (name, unit), values in figures.items()]


async def _watch(rig: Rig, client: FoxgloveClient) -> None:
    """Both clients take the camera and the odometry, as a person who looks would."""
    operator = Operator(rig, await rig.nats())

    async def ignore(_: object) -> None:
        return

    await operator.watch(CAMERA, ignore)
    await operator.watch("odom", ignore)
    for topic in (f"/{CAMERA}", "/odom"):
        await client.subscribe(topic)


async def _measure(rig: Rig, figures: defaultdict[tuple[str, str], list[float]]) -> None:
    meter = CpuMeter(rig.processes())
    await asyncio.sleep(MEASURE_S)
    for prefix, unit, values in (
        ("cpu_percent", "%", meter.percent()),
        ("rss_mb", "MiB", meter.rss_mb()),
    ):
        real = {name: each for name, each in values.items() if name not in SIMULATED}
        figures[f"{prefix}_total", unit].append(sum(real.values()))
        for name, value in values.items():
            figures[f"{prefix}_{name.replace('-', '_')}", unit].append(value)


if __name__ == "__main__":
    main("idle", run, DEFAULT_RUNS)
