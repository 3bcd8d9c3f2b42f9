"""Log files that a robot may write for a month: bounded, and the old ones go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dialtone_bringup.environment import log_folder, prune
from dialtone_bringup.outlet import Outlet

_WEEKS_S = 20 * 86400.0


def _run(logs: Path, day: int, age_s: float) -> Path:
    folder = logs / f"2026-01-{day:02}T10-00-00_rover"
    folder.mkdir()
    log = folder / "bridge.log"
    log.touch()
    for path in (log, folder):
        os.utime(path, (time.time() - age_s,) * 2)
    return folder


def test_only_the_oldest_runs_go_and_never_one_that_is_still_written(tmp_path: Path) -> None:
    runs = [_run(tmp_path, day, _WEEKS_S) for day in range(1, 6)]
    (runs[0] / "teleop.log").touch()  # a robot that has been up all the time
    (tmp_path / "mine").mkdir()
    prune(tmp_path, keep=2)
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == sorted([runs[0].name, runs[3].name, runs[4].name, "mine"])


def test_a_new_run_is_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    first, second = log_folder("rover"), log_folder("rover")
    assert first != second
    assert (tmp_path / "logs" / "latest").resolve() == second.resolve()


def test_a_full_log_file_begins_anew(tmp_path: Path) -> None:
    outlet = Outlet(tmp_path / "bridge.log", lambda line: None, most_bytes=100)
    for number in range(10):
        outlet.feed(f"line {number:020}\n".encode())
    outlet.close()
    kept = [*(tmp_path / "bridge.log.1").read_text().split("\n"),
            *(tmp_path / "bridge.log").read_text().split("\n")]  # fmt: skip
    assert f"line {9:020}" in kept
    assert max(each.stat().st_size for each in tmp_path.iterdir()) < 200


def test_a_log_that_cannot_be_turned_over_is_written_on(tmp_path: Path) -> None:
    (tmp_path / "bridge.log.1" / "in the way").mkdir(parents=True)
    outlet = Outlet(tmp_path / "bridge.log", lambda line: None, most_bytes=10)
    for number in range(3):
        outlet.feed(f"line {number}, long enough\n".encode())
    outlet.close()
    assert "line 2" in (tmp_path / "bridge.log").read_text()
