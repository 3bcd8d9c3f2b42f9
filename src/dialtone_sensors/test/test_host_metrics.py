"""The machine's own figures are there, cheap, and warn at their thresholds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from dialtone_sensors.host_metrics import ERROR, OK, WARN, HostMetrics, process_label
from dialtone_sensors.params import HostMetricsParams

_MARK = "dialtone-metrics-probe"


def test_every_part_reports_on_this_machine() -> None:
    metrics = HostMetrics(HostMetricsParams())
    for name, part in metrics.parts.items():
        reading = part()
        assert reading.level in (OK, WARN, ERROR), name
        assert reading.message, name
    assert metrics.memory().values["total_mb"] > 100
    assert 0 <= metrics.cpu().values["percent"] <= 100


def test_thresholds_decide_the_level() -> None:
    calm = HostMetricsParams(memory_warn_percent=100.0, memory_error_percent=100.0)
    tight = HostMetricsParams(memory_warn_percent=1.0, memory_error_percent=100.0)
    broken = HostMetricsParams(memory_warn_percent=1.0, memory_error_percent=1.0)
    levels = [HostMetrics(params).memory().level for params in (calm, tight, broken)]
    assert levels == [OK, WARN, ERROR]


def test_the_disk_is_the_one_that_holds_the_state_even_before_the_folder_exists(
    tmp_path: Path,
) -> None:
    params = HostMetricsParams(disk_path=str(tmp_path / "not" / "yet"))
    reading = HostMetrics(params).disk()
    assert reading.values["path"] == tmp_path
    assert reading.values["free_mb"] == pytest.approx(
        psutil.disk_usage(str(tmp_path)).free / 1e6, rel=0.1
    )


def test_network_rates_are_over_the_time_between_two_reports() -> None:
    clock_s = iter([10.0, 12.0])
    metrics = HostMetrics(HostMetricsParams(), lambda: next(clock_s))
    metrics.network()
    reading = metrics.network()
    assert all(value >= 0 for key, value in reading.values.items() if key.endswith("kb_s"))


def test_our_processes_are_found_named_and_forgotten_when_they_end() -> None:
    now_s = [0.0]
    params = HostMetricsParams(processes=(_MARK,), rescan_s=5.0)
    metrics = HostMetrics(params, lambda: now_s[0])
    assert metrics.processes().values["count"] == 0
    child = subprocess.Popen(
        [sys.executable, "-c", "input()", _MARK, "__node:=probe"], stdin=subprocess.PIPE
    )
    try:
        now_s[0] = 6.0
        values = metrics.processes().values
        assert values["count"] == 1
        assert values["probe_rss_mb"] > 0
    finally:
        child.communicate(b"\n", timeout=5)
    assert metrics.processes().values["count"] == 0


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (["/usr/bin/python3", "/x/lib/a/node", "--ros-args", "-r", "__node:=bridge"], "bridge"),
        (["python3", "-m", "dialtone_sensors.camera_node"], "camera_node"),
        (["python3", "-u", "/opt/dialtone/vehicle"], "vehicle"),
        (["/venv/bin/nats-server", "-c", "/tmp/x.conf"], "nats-server"),
        ([], "kworker"),
    ],
)
def test_a_process_is_called_what_people_call_it(words: list[str], label: str) -> None:
    assert process_label(words, "kworker") == label


def test_the_metrics_need_neither_numpy_nor_opencv() -> None:
    script = (
        "import sys, dialtone_sensors.host_metrics\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'cv2', 'rclpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
