"""A node ends in order, says what is wrong in one line, and drains what waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_SCRIPT = """
import sys, asyncio
from dataclasses import dataclass
from dialtone_core.config import param
from dialtone_core.errors import DialtoneError
from dialtone_ros.diagnostics import Diagnostics, Report
from dialtone_ros.runtime import run, run_async

@dataclass(frozen=True)
class Params:
    mode: str = param("idle", "what to do")
    rate_hz: float = param(30.0, "rate", unit="Hz", minimum=1, maximum=60)

class Work:
    def __init__(self, node, params):
        Diagnostics(node).add("work", Report)
        self.ticks = 0
        self.params = params
        node.create_timer(0.01, self.tick)
    def tick(self):
        self.ticks += 1
        if self.ticks == 2:
            print("ready", flush=True)
            if self.params.mode == "crash":
                raise KeyError("boom")
            if self.params.mode == "refuse":
                raise DialtoneError("port 1 is taken", where="work", fix="choose another")
    def close(self):
        print("closed", flush=True)

async def main(node, params, stop):
    work = Work(node, params)
    await stop.wait()
    work.close()

if sys.argv[1] == "sync":
    run("worker", Params, Work)
else:
    run_async("worker", Params, main)
"""


def _start(tmp_path: Path, kind: str, *ros_args: str) -> subprocess.Popen[str]:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    args = ["--ros-args", *[word for each in ros_args for word in ("-p", each)]]
    return subprocess.Popen(
        [sys.executable, str(script), kind, *(args if ros_args else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_work_and_leaves_with_0(
    tmp_path: Path, kind: str, signum: signal.Signals
) -> None:
    with _start(tmp_path, kind) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        worker.send_signal(signum)
        out, _ = worker.communicate(timeout=5)
    assert out == "closed\n"
    assert worker.returncode == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_wrong_parameter_is_one_line_and_2(tmp_path: Path, kind: str) -> None:
    with _start(tmp_path, kind, "rate_hz:=100.0") as worker:
        out, _ = worker.communicate(timeout=10)
    assert worker.returncode == 2
    assert "node /worker: rate_hz is 100.0. Fix: give 1 to 60 Hz" in out
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_callback_that_fails_ends_the_process_with_1_after_closing(
    tmp_path: Path, kind: str
) -> None:
    with _start(tmp_path, kind, "mode:=crash") as worker:
        out, _ = worker.communicate(timeout=10)
    assert worker.returncode == 1
    assert "KeyError: 'boom'" in out
    assert "closed" in out


def test_a_refusal_in_a_callback_is_one_line(tmp_path: Path) -> None:
    with _start(tmp_path, "sync", "mode:=refuse") as worker:
        out, _ = worker.communicate(timeout=10)
    assert "work: port 1 is taken. Fix: choose another" in out
    assert "Traceback" not in out
