"""An independent look at every setpoint on the wire, and people whose rights are known.

The vehicle reports each setpoint with the kernel's receive stamp (``setpoint_log``). The oracle
knows who was allowed to move the robot, and when; a setpoint that moves and was not allowed is
*unsafe*. People differ by direction: one drives forward, another backward, so a setpoint tells
whose it is.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client

from dialtone_bringup.rig import until
from dialtone_core.clock import NS_PER_S
from dialtone_core.wire import command_subject, service_subject

#: A command may be on its way for so long when its right ends: ``max_delay_s`` of teleop, beyond
#: which it is refused as stale.
IN_FLIGHT_S = 0.5
RATE_HZ = 20.0
RENEW_S = 0.5
SPEED_MPS = 0.3
AHEAD, BACK = 1, -1


@dataclass
class Seen:
    """A setpoint as the vehicle received it (CLOCK_MONOTONIC ns); +1 forward, −1 back, 0 stop."""

    at_ns: int
    way: int
    body: dict[str, Any]


@dataclass
class Oracle:
    """Which way the robot may be moved, and when."""

    spans: list[list[int]] = field(default_factory=list)

    def allow(self, way: int) -> None:
        """``way`` is allowed from now on."""
        self.spans.append([way, time.monotonic_ns(), -1])

    def forbid(self, way: int = 0, grace_s: float = IN_FLIGHT_S) -> None:
        """From now on ``way`` (0: every one) is forbidden, but for what is on its way."""
        end_ns = time.monotonic_ns() + round(grace_s * NS_PER_S)
        for span in self.spans:
            if way in (0, span[0]) and (span[2] < 0 or span[2] > end_ns):
                span[2] = end_ns

    def allowed(self, seen: Seen) -> bool:
        return seen.way == 0 or any(
            way == seen.way and start <= seen.at_ns and (end < 0 or seen.at_ns <= end)
            for way, start, end in self.spans
        )


class Observer:
    """Takes the vehicle's log on a UDP port, in a thread."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.oracle = Oracle()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def unsafe(self, since_ns: int = 0) -> list[Seen]:
        """The setpoints that nobody was allowed to cause."""
        return [s for s in self.seen if s.at_ns >= since_ns and not self.oracle.allowed(s)]

    def moving(self, way: int, since_ns: int) -> bool:
        """Whether a setpoint went ``way`` since then."""
        return any(s.way == way for s in self._since(since_ns))

    def _since(self, since_ns: int) -> Iterator[Seen]:
        for seen in reversed(self.seen):
            if seen.at_ns < since_ns:
                return
            yield seen

    def standing(self, quiet_s: float = 0.3) -> bool:
        """Whether the last thing said was a stop, or nothing was said, and for ``quiet_s``."""
        since_ns = time.monotonic_ns() - round(quiet_s * NS_PER_S)
        last = self.seen[-1].way if self.seen else 0
        return last == 0 and not any(s.way for s in self._since(since_ns))

    def _run(self) -> None:
        while data := self._socket.recv(4096):
            body = json.loads(data)
            values = [body.get(name, 0.0) for name in ("vx", "vy", "yaw_rate")]
            # What is not finite is null; it counts as motion that nobody may cause.
            broken = any(value is None for value in values) or bool(values[1] or values[2])
            way = 2 if broken else round(math.copysign(1, values[0])) if values[0] else 0
            self.seen.append(Seen(body["received_ns"], way, body))


@contextmanager
def observing(folder: Path) -> Iterator[tuple[Observer, Path]]:
    """An observer, and the params file that makes the vehicle report to it."""
    observer = Observer()
    path = folder / "observed.yaml"
    url = f"udp:127.0.0.1:{observer.port}"
    path.write_text(f'/**/vehicle:\n  ros__parameters:\n    setpoint_log: "{url}"\n')
    try:
        yield observer, path
    finally:
        observer.close()


class Person:
    """Drives one way over NATS: envelope complete, lease kept alive while ``renewing``."""

    def __init__(self, robot: str, client: Client, operator: str, way: int) -> None:
        self.operator, self.way = operator, way
        self.clock_offset_ns = 0
        self.renewing = True
        self.speed_mps: float | None = SPEED_MPS
        self.sent: list[bytes] = []
        self._robot, self._client = robot, client
        self._seq = time.time_ns() // 1_000_000
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, verb: str, **body: Any) -> dict[str, Any]:
        """The reply of ``srv.teleop.<verb>``; raises where nobody answers within 2 s."""
        subject = service_subject(self._robot, "teleop", verb)
        body = {"operator": self.operator, **body}
        reply = await self._client.request(subject, orjson.dumps(body), timeout=2)
        found: dict[str, Any] = orjson.loads(reply.data)
        return found

    async def acquire(self, role: str = "operator") -> bool:
        return bool((await self.ask("lease.acquire", role=role))["ok"])

    async def hold(self) -> None:
        """Get the lease, whoever just lost it and whatever just came back; at most 20 s."""

        async def got() -> bool:
            with suppress(nats.errors.Error, asyncio.TimeoutError):
                return await self.acquire()
            return False

        await until(f"{self.operator} holds the lease", got, 20)

    def start(self) -> None:
        """Drive, and renew, until ``stop``."""
        self._tasks = [asyncio.create_task(self._drive()), asyncio.create_task(self._renew())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def command(self, speed_mps: float) -> bytes:
        """The next command, as it goes over the wire."""
        self._seq += 1
        issued_ns = time.time_ns() + self.clock_offset_ns
        body: dict[str, Any] = {"linear": {"x": self.way * speed_mps}, "seq": self._seq}
        body |= {"operator": self.operator, "issued_ns": issued_ns, "ttl_ms": 300}
        return orjson.dumps(body)

    async def send(self, payload: bytes) -> None:
        """Publish, or lose it where there is no connection."""
        with suppress(nats.errors.Error):
            await self._client.publish(command_subject(self._robot, "cmd_vel"), payload)

    async def _drive(self) -> None:
        while True:
            if self.speed_mps is not None:
                payload = self.command(self.speed_mps)
                self.sent.append(payload)
                await self.send(payload)
            await asyncio.sleep(1 / RATE_HZ)

    async def _renew(self) -> None:
        while True:
            if self.renewing:
                with suppress(nats.errors.Error, asyncio.TimeoutError):
                    await self.ask("lease.renew")
            await asyncio.sleep(RENEW_S)


class StallingProxy:
    """TCP to a server that can stop passing bytes on, keep them, and then let them all go."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> StallingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        sink.close()
