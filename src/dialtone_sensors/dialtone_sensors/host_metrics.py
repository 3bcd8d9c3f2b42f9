"""The machine's own figures: CPU, memory, disk, temperature, network, and our processes.

Each method reads once and compares with what it read before, so a rate is over the time since the
last call. Not thread-safe. Source of all figures: psutil.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dialtone_core.paths import state_dir
from dialtone_sensors.params import HostMetricsParams

OK, WARN, ERROR = 0, 1, 2
_MB = 1e6
_NODE_NAME = re.compile(r"^__node:=(.+)$")


@dataclass(frozen=True, slots=True)
class Reading:
    """One part's report: a diagnostics level, a short sentence, and figures by name."""

    level: int
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)


class HostMetrics:
    """``parts`` are named functions that each return a ``Reading``."""

    def __init__(
        self, params: HostMetricsParams, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._params = params
        self._monotonic_s = monotonic_s
        self._network: tuple[float, dict[str, Any]] = (0.0, {})
        self._processes: dict[int, psutil.Process] = {}
        self._scanned_s = float("-inf")
        self._seen: set[int] = set()
        psutil.cpu_percent(percpu=True)  # starts the first interval
        self.parts: dict[str, Callable[[], Reading]] = {
            "cpu": self.cpu,
            "memory": self.memory,
            "disk": self.disk,
            "temperature": self.temperature,
            "network": self.network,
            "processes": self.processes,
        }

    def cpu(self) -> Reading:
        """Percent of the whole machine, and of each core."""
        cores = psutil.cpu_percent(percpu=True)
        total = sum(cores) / len(cores) if cores else 0.0
        load_1, load_5, _ = os.getloadavg()
        values: dict[str, Any] = {"percent": total, "load_1min": load_1, "load_5min": load_5}
        values |= {f"core_{number}_percent": percent for number, percent in enumerate(cores)}
        level = WARN if total >= self._params.cpu_warn_percent else OK
        return Reading(level, f"{total:.0f} % of {len(cores)} cores", values)

    def memory(self) -> Reading:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        level = _level(
            memory.percent, self._params.memory_warn_percent, self._params.memory_error_percent
        )
        values = {
            "percent": memory.percent,
            "available_mb": memory.available / _MB,
            "total_mb": memory.total / _MB,
            "swap_percent": swap.percent,
        }
        free = f"{memory.available / _MB:.0f} MB free"
        return Reading(level, f"{memory.percent:.0f} % used, {free}", values)

    def disk(self) -> Reading:
        """Of the file system that holds the state folder, or the folder it will be made in."""
        path = Path(self._params.disk_path) if self._params.disk_path else state_dir()
        while not path.exists() and path != path.parent:
            path = path.parent
        try:
            usage = psutil.disk_usage(str(path))
        except OSError as error:
            return Reading(ERROR, f"cannot read {path} ({error.strerror})", {"path": path})
        level = _level(
            usage.percent, self._params.disk_warn_percent, self._params.disk_error_percent
        )
        values = {"path": path, "percent": usage.percent, "free_mb": usage.free / _MB}
        return Reading(level, f"{usage.percent:.0f} % used on {path}", values)

    def temperature(self) -> Reading:
        """The hottest of all sensors; many virtual machines have none, which is no fault."""
        found = {
            f"{chip}_{each.label or index}_c".replace(" ", "_").lower(): each.current
            for chip, sensors in psutil.sensors_temperatures().items()
            for index, each in enumerate(sensors)
        }
        if not found:
            return Reading(OK, "no sensor")
        hottest = max(found.values())
        level = _level(hottest, self._params.temperature_warn_c, self._params.temperature_error_c)
        return Reading(level, f"{hottest:.0f} °C at the hottest sensor", found)

    def network(self) -> Reading:
        """Bytes a second by interface that has carried any; errors and drops since boot."""
        now_s = self._monotonic_s()
        before_s, before = self._network
        counters = psutil.net_io_counters(pernic=True)
        self._network = (now_s, counters)
        span_s = now_s - before_s
        values: dict[str, Any] = {}
        received = sent = 0.0
        for name, each in counters.items():
            if each.bytes_recv == 0 and each.bytes_sent == 0:
                continue
            old = before.get(name, each)
            rx, tx = (
                max(0, each.bytes_recv - old.bytes_recv) / span_s,
                max(0, each.bytes_sent - old.bytes_sent) / span_s,
            )
            values |= {f"{name}_rx_kb_s": rx / 1e3, f"{name}_tx_kb_s": tx / 1e3}
            values[f"{name}_errors"] = each.errin + each.errout
            values[f"{name}_drops"] = each.dropin + each.dropout
            if name != "lo":
                received, sent = received + rx, sent + tx
        return Reading(OK, f"{received / 1e3:.0f} kB/s in, {sent / 1e3:.0f} kB/s out", values)

    def processes(self) -> Reading:
        """CPU (percent of one core) and resident memory of each of our processes."""
        if self._monotonic_s() - self._scanned_s >= self._params.rescan_s:
            self._scanned_s = self._monotonic_s()
            self._scan()
        values: dict[str, Any] = {}
        cpu_total = rss_total = 0.0
        labels: dict[str, int] = {}
        for pid, process in list(self._processes.items()):
            try:
                with process.oneshot():
                    cpu, rss = process.cpu_percent(), process.memory_info().rss / _MB
                    label = process_label(process.cmdline(), process.name())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                del self._processes[pid]
                continue
            labels[label] = labels.get(label, 0) + 1
            label = label if labels[label] == 1 else f"{label}_{labels[label]}"
            values |= {f"{label}_cpu_percent": cpu, f"{label}_rss_mb": rss}
            cpu_total, rss_total = cpu_total + cpu, rss_total + rss
        count = len(self._processes)
        totals = {"count": count, "cpu_percent": cpu_total, "rss_mb": rss_total}
        message = f"{count} processes, {cpu_total:.0f} % of a core, {rss_total:.0f} MB"
        return Reading(OK, message, totals | values)

    def _scan(self) -> None:
        """Look only at processes that are new: reading every command line again is dear."""
        pids = set(psutil.pids())
        for pid in pids - self._seen:
            try:
                process = psutil.Process(pid)
                words = process.cmdline()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            line = " ".join(words)
            if any(wanted in line for wanted in self._params.processes):
                self._processes[pid] = process
        self._seen = pids
        self._processes = {pid: each for pid, each in self._processes.items() if pid in pids}


def process_label(words: list[str], name: str) -> str:
    """What people call a process: its node name, its Python module or script, or its name."""
    for word in words:
        named = _NODE_NAME.match(word)
        if named:
            return named[1]
    for index, word in enumerate(words[1:4], 1):
        if word == "-m" and index + 1 < len(words):
            return words[index + 1].rpartition(".")[2]
    if len(words) > 1 and "python" in os.path.basename(words[0]):
        script = next((word for word in words[1:] if not word.startswith("-")), "")
        return os.path.basename(script) or name
    return os.path.basename(words[0]) if words else name


def _level(value: float, warn: float, error: float) -> int:
    return ERROR if value >= error else WARN if value >= warn else OK
