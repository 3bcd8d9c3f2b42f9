"""Full and read-only disks: small real ones, in a mount namespace of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

#: Root may mount; anybody may in a user namespace of his own, where the kernel allows those.
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a small disk may be mounted."""
    made = tmp_path_factory.mktemp("disks")
    able = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "none", made], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if able.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {able.stderr.strip()}")
    return made


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("small_disk.py")
    done = subprocess.run(
        [*UNSHARE, sys.executable, script, folder], capture_output=True, text=True, timeout=50,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def test_a_disk_that_fills_ends_the_episode_with_what_fitted_and_counts_the_rest(
    told: dict[str, Any],
) -> None:
    episode = told["fills"]
    facts = episode["facts"]
    assert episode["left"] == ["one"]
    assert facts["closed_by"] == "disk_full"
    assert "No space left on device" in facts["error"]
    assert facts["indexed"]
    assert 30 < facts["messages"] == episode["counts"]["/camera"] < 60
    assert facts["messages"] + episode["lost"] == 80
    # What comes once the papers are written is counted by the session alone.
    assert 0 < facts["lost_recorder"] <= episode["lost"]


def test_a_disk_too_full_for_the_end_leaves_an_episode_that_is_recovered_later(
    told: dict[str, Any],
) -> None:
    episode = told["stays full"]
    assert not episode["whole"]
    assert "No space left on device" in episode["error"]
    assert episode["facts"]["recovered"]
    assert episode["facts"]["messages"] == episode["counts"]["/camera"] == 10


def test_a_read_only_folder_is_refused_by_name_by_the_node_and_by_an_episode(
    told: dict[str, Any],
) -> None:
    by_node, by_episode = told["refuses"]["said"]
    assert "episodes cannot be written there (Read-only file system)" in by_node
    assert "cannot begin an episode (Read-only file system)" in by_episode
    assert all("refuses" in each and "Fix:" in each for each in (by_node, by_episode))


def test_a_node_that_cannot_record_from_the_start_says_so_and_stays(folder: Path) -> None:
    disk = folder / "tiny"
    disk.mkdir()
    node = f"{sys.executable} -m dialtone_recorder.node --ros-args"
    script = (
        f"mount -t tmpfs -o size=1m none {disk} && "
        f"exec {node} -p directory:={disk} -p autostart:=true"
    )
    process = subprocess.Popen([*UNSHARE, "sh", "-c", script], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        told = next((line for line in process.stderr if "not recording" in line), "")
        assert "No space left on device" in told
        assert process.poll() is None
    finally:
        process.terminate()
        rest = process.stderr.read()
    assert process.wait(10) == 0, rest


def test_what_does_not_fit_when_trimmed_or_exported_leaves_nothing(told: dict[str, Any]) -> None:
    said = told["derives"]["said"]
    assert [each.rsplit("/", 1)[-1].split(":")[0] for each in said] == ["cut", "table", "set"]
    assert all("cannot be written" in each and "Fix:" in each for each in said)
    assert told["derives"]["left"] == []
