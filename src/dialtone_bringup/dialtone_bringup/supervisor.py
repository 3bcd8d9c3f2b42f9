"""Keeps a robot's processes running: start, log, restart, give up, and an end within 3 s.

One asyncio task a process waits on its pipe and its end; nothing polls. Processes have a session
of their own, so that Ctrl-C on the terminal reaches only the supervisor, which ends them in order.
Should the supervisor be killed, the kernel sends each child a SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dialtone_bringup.environment import child_environment, log_folder, sweep_shared_memory
from dialtone_bringup.outlet import Outlet
from dialtone_bringup.prefixes import find_executable
from dialtone_bringup.spec import Graph, NodeSpec
from dialtone_bringup.terminal import Terminal
from dialtone_core.aio import TaskGroup
from dialtone_core.errors import DialtoneError
from dialtone_core.process import die_with_parent

EXIT_GAVE_UP = 1
EXIT_CONFIG = 2
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Policy:
    """When to try again and when to stop trying. Seconds."""

    backoff_s: float = 0.5
    most_backoff_s: float = 8.0
    healthy_s: float = 30.0
    quick_deaths: int = 5
    #: What other processes talk to ends last, at the latest after this.
    first_wave_s: float = 1.2
    kill_after_s: float = 2.5


@dataclass
class Process:
    """What is known of one process; ``pid`` is 0 while it does not run."""

    spec: NodeSpec
    pid: int = 0
    restarts: int = 0
    quick_deaths: int = 0
    given_up: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    outlet: Outlet | None = None


class Supervisor:
    """Runs the processes of ``graph``. ``create`` starts nothing; use it from one event loop.

    ``await start()``, then ``await wait()`` returns the exit code once all have ended: after
    ``stop`` (0), or because one could not be kept running (1) or had a wrong setting (2).
    """

    def __init__(
        self, graph: Graph, console: Terminal | None = None, policy: Policy | None = None
    ) -> None:
        self.graph = graph
        self.processes = {node.name: Process(node) for node in graph.nodes}
        self.logs = Path()
        self.exit_code = 0
        self._console = console
        self._policy = policy or Policy()
        self._stopping = asyncio.Event()
        self._commands: dict[str, list[str]] = {}
        self._env: dict[str, str] = {}
        self._main: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start everything at once; raises ``DialtoneError`` (nothing runs then)."""
        self.logs = log_folder(self.graph.robot)
        colour = self._console is not None and self._console.colour
        self._env = child_environment(os.environ, self.logs, colour)
        self._commands = {node.name: self._command(node) for node in self.graph.nodes}
        if swept := sweep_shared_memory():
            self._say(f"removed {swept} shared-memory segments of dead processes")
        for name in self.processes:
            if self._console is not None:
                self._console.register(name)
        self._main = asyncio.create_task(self._run(), name="supervisor")

    async def wait(self) -> int:
        """Return the exit code when every process has ended."""
        if self._main is not None:
            await asyncio.shield(self._main)
        return self.exit_code

    async def stop(self) -> int:
        """End every process, gently for 2.5 s, then not; idempotent."""
        self._stopping.set()
        return await self.wait()

    def kill(self) -> None:
        """End every process group now, without a chance to close anything."""
        self._stopping.set()
        for process in self.processes.values():
            _signal_group(process.pid, signal.SIGKILL)

    async def _run(self) -> None:
        try:
            async with TaskGroup() as group:
                for process in self.processes.values():
                    group.create_task(self._keep(process), name=process.spec.name)
                await self._stopping.wait()
                await self._end_all()
        finally:
            self.kill()  # nothing runs any more, unless an error brought us here

    async def _keep(self, process: Process) -> None:
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                code = await self._run_once(process)
                if self._stopping.is_set():
                    return
                delay_s = self._judge(process, code, time.monotonic() - began)
                if delay_s is None:
                    return
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay_s)
                process.restarts += 1
        finally:
            process.ended.set()
            if process.outlet is not None:
                process.outlet.close()

    async def _run_once(self, process: Process) -> int:
        """Run it until it ends; returns its exit code, negative for a signal."""
        name = process.spec.name
        if process.outlet is None:
            process.outlet = Outlet(self.logs / f"{name}.log", partial(self._show, name))
        try:
            child = await asyncio.create_subprocess_exec(
                *self._commands[name],
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        except OSError as error:
            process.outlet.feed(f"cannot start: {error}\n".encode())
            return 127
        process.pid = child.pid
        if self._stopping.is_set():  # set while it was being started
            _signal(process.pid, signal.SIGTERM)
        try:
            code, _ = await asyncio.gather(child.wait(), _pump(child, process.outlet))
        finally:
            # The main process has ended: what it left in its group has nobody to look after it.
            _signal_group(process.pid, signal.SIGKILL)
            process.pid = 0
        process.outlet.finish()
        return code

    def _judge(self, process: Process, code: int, lived_s: float) -> float | None:
        """Report a death; returns the seconds until the next try, or ``None`` for no more."""
        policy, spec = self._policy, process.spec
        process.quick_deaths = 1 if lived_s >= policy.healthy_s else process.quick_deaths + 1
        what = f"{spec.name} {describe(code)} after {lived_s:.1f} s"
        if code == EXIT_CONFIG:
            self._give_up(process, f"{what}: a setting is wrong", EXIT_CONFIG)
            return None
        if not spec.respawn or process.quick_deaths >= policy.quick_deaths:
            self._give_up(process, f"{what}, {process.quick_deaths} times in a row", EXIT_GAVE_UP)
            return None
        delay_s: float = min(
            policy.backoff_s * 2.0 ** (process.quick_deaths - 1), policy.most_backoff_s
        )
        self._report(process, f"{what}; restarting it in {delay_s:g} s")
        return delay_s

    def _give_up(self, process: Process, what: str, code: int) -> None:
        process.given_up = True
        nobody = all(each.given_up for each in self.processes.values())
        stops = process.spec.essential or code == EXIT_CONFIG or nobody
        then = "stopping the robot" if stops else "the robot runs on without it"
        self._report(process, f"{what}; giving up, {then}")
        if stops:
            self.exit_code = self.exit_code or code
            self._stopping.set()

    def _report(self, process: Process, what: str) -> None:
        lines = [f"dialtone: {what}"]
        if process.outlet is not None:
            lines += [f"    {line}" for line in process.outlet.last]
            lines.append(f"    whole log: {process.outlet.path}")
            process.outlet.last.clear()
            process.outlet.note(what)
        self._say("\n".join(lines), bad=True)

    async def _end_all(self) -> None:
        """Those that talk first, then those that are talked to; whoever stays is killed."""
        policy = self._policy
        began = time.monotonic()
        waves: tuple[list[Process], list[Process]] = ([], [])
        for process in reversed(self.processes.values()):
            waves[process.spec.stop_last].append(process)
        for wave, until_s in zip(waves, (policy.first_wave_s, policy.kill_after_s), strict=True):
            for process in wave:
                _signal(process.pid, signal.SIGTERM)
            await self._ended(wave, began + until_s - time.monotonic())
        everyone = list(self.processes.values())
        await self._ended(everyone, began + policy.kill_after_s - time.monotonic())
        for process in everyone:
            if process.pid:
                self._say(f"dialtone: {process.spec.name} did not end by itself; killed", bad=True)
                _signal_group(process.pid, signal.SIGKILL)

    async def _ended(self, processes: list[Process], timeout_s: float) -> None:
        async def all_ended() -> None:
            for process in processes:
                await process.ended.wait()

        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(all_ended(), max(timeout_s, 0))

    def _command(self, node: NodeSpec) -> list[str]:
        path = find_executable(node.package, node.executable)
        if path is None:
            raise DialtoneError(
                f"no executable {node.executable} in package {node.package}",
                where=node.name,
                fix="build the workspace: ./dialtone does it by itself, else colcon build",
            )
        command = [*_interpreter(path), str(path), *node.arguments]
        return [*command, *self._ros_arguments(node)] if node.ros_args else command

    def _ros_arguments(self, node: NodeSpec) -> list[str]:
        """Later files win; the last one holds what the graph decided, and shows what ran."""
        arguments = ["--ros-args", "-r", f"__node:={node.name}"]
        arguments += ["-r", f"__ns:={self.graph.namespace}"]
        for topic, target in node.remappings:
            arguments += ["-r", f"{topic}:={target}"]
        for file in self.graph.params_files:
            arguments += ["--params-file", str(file)]
        if node.parameters:
            arguments += ["--params-file", str(self.graph.write_parameters(node, self.logs))]
        return arguments

    def _show(self, name: str, line: str) -> None:
        chatter = self.processes[name].spec.chatter
        if self._console is not None and not (chatter and re.search(chatter, line)):
            self._console.write(name, line)

    def _say(self, line: str, bad: bool = False) -> None:
        if self._console is not None:
            self._console.say(line, bad=bad)


async def _pump(child: asyncio.subprocess.Process, outlet: Outlet) -> None:
    """Move output until the pipe ends, or its owner has and someone else keeps the pipe open."""
    assert child.stdout is not None
    ended = asyncio.ensure_future(child.wait())
    try:
        while True:
            reading = asyncio.ensure_future(child.stdout.read(_CHUNK))
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=0.2)
            if not reading.done():
                reading.cancel()
                return
            data = reading.result()
            if not data:
                return
            outlet.feed(data)
    finally:
        ended.cancel()


def describe(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _interpreter(path: Path) -> list[str]:
    """Python scripts run under our own Python: a shebang cannot hold a path with spaces."""
    with path.open("rb") as script:
        first = script.readline(256)
    return [sys.executable] if first.startswith(b"#!") and b"python" in first else []


def _signal(pid: int, signum: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


def _signal_group(pid: int, signum: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signum)
