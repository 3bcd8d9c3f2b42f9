"""``dialtone up`` as a user meets it: exit codes and one line on bad input, in a real process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

UP = [sys.executable, "-m", "dialtone_core.cli", "up", "--nats-port", "0"]


def up(tmp_path: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DIALTONE_HOME": str(tmp_path / "home"), **env}
    return subprocess.run(
        [*UP, *options], env=environment, capture_output=True, text=True, timeout=20
    )


def assert_refused(done: subprocess.CompletedProcess[str], told: str) -> None:
    """Exit code 2, one line on stderr, and no process: none had been started."""
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert "Fix: " in done.stderr


def test_an_unknown_profile_exits_with_two(tmp_path: Path) -> None:
    assert_refused(up(tmp_path, "--foxglove-port", "0", "--profile", "boat"), "rover, sim")


def test_a_wrong_type_names_file_parameter_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("/**/camera_front: {ros__parameters: {rate_hz: fast}}")
    done = up(tmp_path, "--foxglove-port", "0", "--params-file", str(path))
    assert_refused(done, f"{path}: camera_front: rate_hz is 'fast' (str). Fix: give a number")


def test_a_foxglove_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert_refused(up(tmp_path, "--foxglove-port", port), f"port {port}")


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert_refused(up(tmp_path, "--foxglove-port", "0"), "set DIALTONE_HOME")


def test_a_robot_that_is_already_up_is_not_started_twice(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "run"
    folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as other:
        text = f'{{"robot": "rover", "pid": {other.pid}, "nats_url": ""}}'
        (folder / "rover.json").write_text(text)
        # A process that is no bridge took the number of a dead one: not a reason to refuse.
        assert_refused(up(tmp_path, "--foxglove-port", "0", "--profile", "boat"), "rover, sim")
        other.kill()


@pytest.mark.parametrize("option", ["--nonsense", "--foxglove-port=x"])
def test_a_wrong_option_exits_with_two(tmp_path: Path, option: str) -> None:
    assert up(tmp_path, option).returncode == 2
