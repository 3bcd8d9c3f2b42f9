"""``dialtone up`` as a user meets it: exit codes and one line on bad input, in a real process."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dialtone_bringup.graph import Options, resolve
from dialtone_bringup.supervisor import Supervisor
from dialtone_bringup.terminal import Terminal
from dialtone_bringup.verbs.up import _tell_first_password

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


class Screen(io.StringIO):
    """A terminal, or a file that a service's output goes to."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


@pytest.mark.parametrize("tty", [True, False])
def test_the_first_password_is_shown_to_a_person_and_to_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tty: bool
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    for name, text in (("rover/listening.json", "{}"), ("first_password", "made-up\n")):
        path = tmp_path / "gateway" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    screen = Screen(tty)
    terminal = Terminal(screen)
    supervisor = Supervisor(resolve(Options(nats_port=0, foxglove_port=0, web_port=0)), terminal)
    asyncio.run(_tell_first_password(supervisor, terminal))
    terminal.close(5)
    assert "user admin" in screen.getvalue()
    assert ("made-up" in screen.getvalue()) is tty
    assert (str(tmp_path / "gateway" / "first_password") in screen.getvalue()) is not tty
