"""A whole robot for the selftest, the benchmarks and the end-to-end tests.

It is started as a user starts it (``dialtone up`` in a process of its own), but on free ports, in
a ROS domain and a state folder that nobody else uses, so that any number of rigs run side by side.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError
from dialtone_core.natslink import NO_REPLAY, connect
from dialtone_core.paths import RobotFile
from dialtone_core.wire import command_subject, service_subject, telemetry_subject
from dialtone_ros.domain import FreeDomain

CAMERA = "camera/front/image_raw/compressed"

#: The executables that stand in for hardware; a real robot does not run them.
SIMULATED = ("vehicle", "camera_node")


@dataclass
class Rig:
    """One running robot. ``stop`` it, or leave the ``running`` context, to end it."""

    robot: str
    home: Path
    process: asyncio.subprocess.Process
    domain: int
    started_s: float
    log: Path
    file: RobotFile | None = None
    _clients: list[Client] = field(default_factory=list)

    @property
    def nats_url(self) -> str:
        return self._listening().nats_url

    @property
    def foxglove_url(self) -> str:
        return self._listening().foxglove_url

    @property
    def episodes(self) -> Path:
        return self.home / "episodes"

    def _listening(self) -> RobotFile:
        if self.file is None:
            raise DialtoneError("the robot does not listen yet", fix="await rig.ready() first")
        return self.file

    async def ready(self, timeout_s: float = 20.0) -> None:
        """Return once the bridge listens; raises ``DialtoneError`` with the log's end if not."""
        deadline = time.monotonic() + timeout_s
        while self.file is None:
            self.file = RobotFile.read(self.robot, self.home)
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise DialtoneError(
                    f"the robot did not come up: {self.tail()}", where=str(self.log)
                )
            await asyncio.sleep(0.02)

    def tail(self, lines: int = 12) -> str:
        """The last lines that ``dialtone up`` printed."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return " | ".join(text.splitlines()[-lines:])

    async def nats(self, name: str = "rig") -> Client:
        """A connection that never replays; closed with the rig."""
        client = await connect(self.nats_url, name, pending_bytes=NO_REPLAY)
        self._clients.append(client)
        return client

    def processes(self) -> dict[str, psutil.Process]:
        """Every process of the robot by executable name; the supervisor is ``up``."""
        root = psutil.Process(self.process.pid)
        found = {"up": root}
        for child in root.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found[_executable(child)] = child
        return found

    async def stop(self, signum: signal.Signals = signal.SIGINT) -> float:
        """End the robot as Ctrl-C does; returns the seconds it took. Idempotent."""
        for client in self._clients:
            with suppress(Exception):
                await client.close()
        self._clients.clear()
        began = time.monotonic()
        if self.process.returncode is None:
            self.process.send_signal(signum)
            try:
                async with timeout(10):
                    await self.process.wait()
            except asyncio.TimeoutError:
                self.process.kill()
                await self.process.wait()
        return time.monotonic() - began

    def leftovers(self) -> list[str]:
        """Command lines of processes that still run with this rig's state folder."""
        mark = str(self.home)
        found = []
        for each in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                ours = each.environ().get("DIALTONE_HOME") == mark
                if ours and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(each.cmdline()))
        return found


@asynccontextmanager
async def running(
    *options: str, robot: str = "selftest", env: dict[str, str] | None = None, keep: bool = False
) -> AsyncIterator[Rig]:
    """``dialtone up`` with ``options``, on free ports; ended and swept on leaving.

    ``keep`` leaves the state folder (logs, episodes) behind for a person to read.
    """
    home = Path(tempfile.mkdtemp(prefix=f"dialtone-{robot}-"))
    log = home / "up.log"
    try:
        with FreeDomain() as domain, log.open("wb") as output:
            rig = await _start(robot, home, log, output, domain.number, options, env or {})
            try:
                yield rig
            finally:
                await rig.stop()
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


async def _start(
    robot: str,
    home: Path,
    log: Path,
    output: Any,
    domain: int,
    options: Sequence[str],
    env: dict[str, str],
) -> Rig:
    environment = {
        **os.environ,
        "DIALTONE_HOME": str(home),
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(home / "logs" / "ros"),
        **env,
    }
    free = ("--nats-port", "0", "--foxglove-port", "0", "--web-port", "0")
    command = (sys.executable, "-m", "dialtone_core.cli", "up", "--robot", robot, *free, *options)
    started_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    return Rig(robot, home, process, domain, started_s, log)


def _executable(process: psutil.Process) -> str:
    """``bridge_node`` for ``python …/lib/dialtone_bridge/bridge_node --ros-args …``."""
    words = process.cmdline()
    for word in words[:2]:
        name = os.path.basename(word)
        if not name.startswith("python"):
            return name
    return process.name()


class Operator:
    """Drives over NATS and remembers what it saw: odometry, frames, losses."""

    def __init__(self, rig: Rig, client: Client) -> None:
        self._rig = rig
        self._client = client

    async def watch(self, topic: str, on_message: Callable[[Msg], Awaitable[None]]) -> None:
        """Call ``on_message`` for each sample of ROS topic ``topic`` (relative)."""
        subject = telemetry_subject(self._rig.robot, f"/{topic}")
        await self._client.subscribe(subject, cb=on_message)
        await self._client.flush()

    async def next(self, topic: str, timeout_s: float = 10.0) -> Msg:
        """The next sample of ``topic``; raises ``DialtoneError`` after ``timeout_s``."""
        subject = telemetry_subject(self._rig.robot, f"/{topic}")
        subscription = await self._client.subscribe(subject)
        try:
            return await subscription.next_msg(timeout=timeout_s)
        except asyncio.TimeoutError as error:
            raise DialtoneError(f"no {topic} within {timeout_s:g} s", where=subject) from error
        finally:
            await subscription.unsubscribe()

    async def send(self, payload: bytes) -> None:
        """Publish one velocity command."""
        await self._client.publish(command_subject(self._rig.robot, "cmd_vel"), payload)

    async def drive(self, x: float, yaw: float, duration_s: float, rate_hz: float = 20.0) -> None:
        """Hold a velocity (m/s, rad/s) for ``duration_s``."""
        body = f'{{"linear":{{"x":{x}}},"angular":{{"z":{yaw}}}}}'.encode()
        await repeat(lambda: self.send(body), duration_s, rate_hz)

    async def call(self, package: str, verb: str, body: bytes = b"{}") -> bytes:
        """Call a service of the robot and return its JSON reply; waits for it to be there."""
        subject = service_subject(self._rig.robot, package, verb)
        deadline = time.monotonic() + 10
        while True:
            try:
                return bytes((await self._client.request(subject, body, timeout=10)).data)
            except NoRespondersError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)


async def repeat(action: Callable[[], Awaitable[None]], duration_s: float, rate_hz: float) -> None:
    """Do ``action`` at ``rate_hz`` for ``duration_s``, on an absolute grid that does not drift."""
    start = time.monotonic()
    for step in range(round(duration_s * rate_hz)):
        await action()
        await asyncio.sleep(max(0.0, start + (step + 1) / rate_hz - time.monotonic()))


async def until(
    what: str, holds: Callable[[], bool | Awaitable[bool]], timeout_s: float = 10.0
) -> None:
    """Return once ``holds()`` is true; raises ``DialtoneError`` naming ``what`` when it is late.

    For conditions of other processes, which nothing here can signal.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = holds()
        if result if isinstance(result, bool) else await result:
            return
        if time.monotonic() > deadline:
            raise DialtoneError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.05)
