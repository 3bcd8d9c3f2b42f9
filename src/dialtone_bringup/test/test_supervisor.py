"""The supervisor with real processes: what dies, what stays, what refuses to end."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dialtone_bringup.supervisor import Policy, Supervisor, describe
from dialtone_bringup.terminal import Terminal
from dialtone_core.errors import DialtoneError

sys.path.insert(0, str(Path(__file__).parent))
from fakes import FAST, fake, make_graph, make_prefix

STAY = "import signal, time\nprint('up', flush=True)\nwhile True: time.sleep(60)"
STUBBORN = "import signal\nsignal.signal(15, signal.SIG_IGN)\n" + STAY
DIE = "import sys\nprint('about to fail')\nsys.exit(3)"
WRONG_SETTING = "import sys\nprint('rate_hz is -1. Fix: give 1 to 60')\nsys.exit(2)"
LEAVES_A_CHILD = "import subprocess, sys\nsubprocess.Popen(['sleep', '600'])\n" + STAY
CHATTERS = "for i in range(20000): print('line', i, 'x' * 200)\n" + STAY


async def until(true: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = make_prefix(
        tmp_path / "a prefix",
        stay=STAY,
        other=STAY,
        stubborn=STUBBORN,
        die=DIE,
        wrong=WRONG_SETTING,
        family=LEAVES_A_CHILD,
        chatters=CHATTERS,
    )
    source = Path(__file__).resolve().parents[1]
    (path / "share" / "dialtone_bringup").symlink_to(source)
    (path / "share/ament_index/resource_index/packages/dialtone_bringup").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(path))
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path / "home"))
    return path


class Run:
    """A supervisor on a terminal that is a text."""

    def __init__(self, *names: str, **policy: float) -> None:
        self.output = io.StringIO()
        self.terminal = Terminal(self.output)
        nodes = [fake(name) for name in names]
        rules = Policy(**{**FAST, **policy})  # type: ignore[arg-type]
        self.supervisor = Supervisor(make_graph(*nodes), self.terminal, rules)

    def shown(self) -> str:
        self.terminal.close(2.0)
        return self.output.getvalue()

    def log(self, name: str) -> str:
        return (self.supervisor.logs / f"{name}.log").read_text()


async def running(run: Run, *names: str) -> list[int]:
    await run.supervisor.start()
    for name in names:
        await until(lambda name=name: (run.supervisor.logs / f"{name}.log").exists())  # type: ignore[misc]
        await until(lambda name=name: "up" in run.log(name))  # type: ignore[misc]
    return [run.supervisor.processes[name].pid for name in names]


@pytest.mark.usefixtures("prefix")
async def test_stop_ends_every_process_and_answers_zero() -> None:
    run = Run("stay", "other")
    pids = await running(run, "stay", "other")
    assert await run.supervisor.stop() == 0
    assert not any(map(psutil.pid_exists, pids))
    assert "stay  | up" in run.shown()


@pytest.mark.usefixtures("prefix")
async def test_a_process_that_ignores_sigterm_is_killed_within_three_seconds() -> None:
    run = Run("stubborn", "stay")
    pids = await running(run, "stubborn", "stay")
    began = time.monotonic()
    await run.supervisor.stop()
    assert time.monotonic() - began < 3.0
    assert not any(map(psutil.pid_exists, pids))
    assert "stubborn did not end by itself; killed" in run.shown()


@pytest.mark.usefixtures("prefix")
async def test_a_second_interrupt_kills_at_once() -> None:
    run = Run("stubborn")
    await running(run, "stubborn")
    began = time.monotonic()
    stopping = asyncio.create_task(run.supervisor.stop())
    await asyncio.sleep(0)
    run.supervisor.kill()
    await stopping
    assert time.monotonic() - began < 1.0


@pytest.mark.usefixtures("prefix")
async def test_what_a_process_left_in_its_group_ends_with_it() -> None:
    run = Run("family")
    (pid,) = await running(run, "family")
    (child,) = psutil.Process(pid).children()
    await run.supervisor.stop()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.usefixtures("prefix")
async def test_a_killed_process_is_started_again_and_reported() -> None:
    run = Run("stay")
    (pid,) = await running(run, "stay")
    os.kill(pid, signal.SIGKILL)
    process = run.supervisor.processes["stay"]
    await until(lambda: process.restarts == 1 and process.pid not in (0, pid))
    await run.supervisor.stop()
    shown = run.shown()
    assert "stay was killed by SIGKILL" in shown
    assert "restarting it in 0.05 s" in shown


@pytest.mark.usefixtures("prefix")
async def test_one_that_keeps_dying_stops_the_robot_with_its_last_lines() -> None:
    run = Run("die", "stay")
    await run.supervisor.start()
    assert await asyncio.wait_for(run.supervisor.wait(), 10) == 1
    shown = run.shown()
    assert run.supervisor.processes["die"].restarts == 2
    assert "die ended with exit code 3" in shown
    assert "    about to fail" in shown
    assert "3 times in a row; giving up, stopping the robot" in shown
    assert run.supervisor.processes["stay"].pid == 0


@pytest.mark.usefixtures("prefix")
async def test_a_wrong_setting_is_not_tried_again_and_exits_with_two() -> None:
    run = Run("wrong", "stay")
    await run.supervisor.start()
    assert await asyncio.wait_for(run.supervisor.wait(), 10) == 2
    assert run.supervisor.processes["wrong"].restarts == 0
    assert "Fix: give 1 to 60" in run.shown()


@pytest.mark.usefixtures("prefix")
async def test_the_robot_runs_on_without_a_process_that_is_not_essential() -> None:
    run = Run()
    nodes = (fake("die", essential=False), fake("stay"))
    run.supervisor = Supervisor(make_graph(*nodes), run.terminal, Policy(**FAST))  # type: ignore[arg-type]
    (pid,) = await running(run, "stay")
    await until(lambda: run.supervisor.processes["die"].given_up)
    assert psutil.pid_exists(pid)
    assert await run.supervisor.stop() == 0
    assert "the robot runs on without it" in run.shown()


@pytest.mark.usefixtures("prefix")
async def test_deaths_after_a_healthy_life_start_the_count_anew() -> None:
    run = Run("die", healthy_s=0.0)
    await run.supervisor.start()
    await until(lambda: run.supervisor.processes["die"].restarts > 5)
    await run.supervisor.stop()
    assert not run.supervisor.processes["die"].given_up


@pytest.mark.usefixtures("prefix")
async def test_a_chatterbox_is_logged_in_full_and_blocks_nobody() -> None:
    run = Run("chatters", "stay")
    await running(run, "chatters", "stay")
    assert run.log("chatters").count("\n") == 20_001
    assert await run.supervisor.stop() == 0


@pytest.mark.usefixtures("prefix")
async def test_the_newest_log_folder_is_called_latest() -> None:
    run = Run("stay")
    await running(run, "stay")
    latest = run.supervisor.logs.with_name("latest")
    assert latest.resolve() == run.supervisor.logs.resolve()
    await run.supervisor.stop()


@pytest.mark.usefixtures("prefix")
async def test_a_missing_executable_stops_the_start_in_one_line() -> None:
    run = Run("stay", "nowhere")
    with pytest.raises(DialtoneError, match="no executable nowhere in package fake") as caught:
        await run.supervisor.start()
    assert "\n" not in str(caught.value)
    assert all(process.pid == 0 for process in run.supervisor.processes.values())


def test_a_killed_supervisor_takes_its_processes_with_it(prefix: Path) -> None:
    code = (
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from fakes import fake, make_graph\n"
        "from dialtone_bringup.supervisor import Supervisor\n"
        "async def main():\n"
        "    supervisor = Supervisor(make_graph(fake('stay'), fake('other')))\n"
        "    await supervisor.start()\n"
        "    while not all(p.pid for p in supervisor.processes.values()):\n"
        "        await asyncio.sleep(0.01)\n"
        "    print(*[p.pid for p in supervisor.processes.values()], flush=True)\n"
        "    await supervisor.wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        children = [psutil.Process(int(word)) for word in run.stdout.readline().split()]
        run.kill()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_exit_codes_are_told_in_words() -> None:
    assert describe(1) == "ended with exit code 1"
    assert describe(-9) == "was killed by SIGKILL"
    assert describe(-60) == "was killed by signal 60"
