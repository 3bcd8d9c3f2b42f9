"""What every benchmark shares: rows, medians, machine facts, CPU accounting, output.

A benchmark is a module in this folder with a docstring, ``DEFAULT_RUNS`` and
``async def run(runs: int, progress: Progress) -> list[Row]``; ``dialtone bench NAME`` runs it,
and so does ``python bench/NAME.py --json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

Progress = Callable[[str], None]
Bench = Callable[[int, Progress], Awaitable[list["Row"]]]


@dataclass(frozen=True)
class Row:
    """One figure: the median of ``runs`` runs, their extremes, and a baseline's median.

    ``baseline`` comes from the same run of the benchmark; ``ratio`` is value / baseline.
    """

    name: str
    value: float
    unit: str
    min: float
    max: float
    runs: int
    baseline: float | None = None
    ratio: float | None = None


def row(
    name: str, values: Sequence[float], unit: str, baseline: Sequence[float] | None = None
) -> Row:
    """Make a ``Row`` of one value a run."""
    if not values:
        raise ValueError(f"{name}: no run yielded a value")
    value = statistics.median(values)
    base = statistics.median(baseline) if baseline else None
    return Row(
        name,
        _round(value),
        unit,
        _round(min(values)),
        _round(max(values)),
        len(values),
        None if base is None else _round(base),
        _round(value / base) if base else None,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile; ``values`` need not be sorted."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("a percentile of nothing")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _round(value: float) -> float:
    """Four significant digits: more would claim a precision that a busy machine does not have."""
    return float(f"{value:.4g}")


def machine() -> dict[str, Any]:
    """The machine that the figures were taken on."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_1m": round(os.getloadavg()[0], 2),
    }


class CpuMeter:
    """CPU seconds and resident memory of named processes between two moments."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self._processes = dict(processes)
        self._began_s = time.monotonic()
        self._cpu = {name: _cpu_s(each) for name, each in processes.items()}

    def percent(self) -> dict[str, float]:
        """Per cent of one core since the meter was made, by process."""
        elapsed = time.monotonic() - self._began_s
        return {
            name: 100 * (_cpu_s(each) - self._cpu[name]) / elapsed
            for name, each in self._processes.items()
        }

    def rss_mb(self) -> dict[str, float]:
        """Resident memory now, MiB, by process."""
        return {n: each.memory_info().rss / 2**20 for n, each in self._processes.items()}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def report(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON document of one benchmark."""
    return {"bench": name, "machine": machine(), "rows": [asdict(each) for each in rows]}


def main(name: str, bench: Bench, default_runs: int) -> None:
    """The command line of a benchmark that is run alone."""
    parser = argparse.ArgumentParser(prog=f"bench/{name}.py")
    parser.add_argument("--runs", type=int, default=default_runs, help="how many runs")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    rows = asyncio.run(bench(options.runs, lambda what: print(what, file=sys.stderr)))
    if options.json:
        print(json.dumps(report(name, rows)))
        return
    for each in rows:
        base = "" if each.ratio is None else f"  baseline {each.baseline} (×{each.ratio})"
        print(f"{each.name:32} {each.value:>10} {each.unit:6} [{each.min}, {each.max}]{base}")
