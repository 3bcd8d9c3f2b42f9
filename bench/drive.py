"""From an operator's NATS publish to the setpoint's bytes at the vehicle's socket.

Each command carries a yaw rate of its own, so that the setpoint it became is recognised; the
vehicle reports the kernel's receive stamp of each. 50 commands a second, as a busy operator sends.
Quiet, and with four cameras of 30 Hz × 200 KB streaming to a NATS and a Foxglove client. The
baseline (``baselines/drive.py``) runs beside the same robot, one command after ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import loads
from harness import Progress, Row, main, percentile, row

os.environ["MAVLINK20"] = "1"

from nats.aio.client import Client
from pymavlink.dialects.v20 import common as mavlink

from dialtone_bringup.rig import CAMERA, Operator, Rig, repeat, running
from dialtone_sim.vehicle import SO_TIMESTAMPNS, receipt_ns

DEFAULT_RUNS = 5
RATE_HZ = 50.0
COMMANDS = 250
_BASE_YAW, _STEP_YAW, _IDS = 0.1, 0.001, 300


@dataclass
class Latencies:
    """Sent and received stamps (CLOCK_MONOTONIC ns) of one stream of commands, by id."""

    sent: dict[int, int] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)

    def ms(self) -> list[float]:
        """Latency of every command that arrived."""
        return [(self.received[n] - at) / 1e6 for n, at in self.sent.items() if n in self.received]

    def lost(self) -> int:
        return len(self.sent) - len(self.ms())

    def saw(self, yaw_rate: float, received_ns: int) -> None:
        """A setpoint with FRD ``yaw_rate`` (rad/s) was received; a repetition does not count."""
        number = round((-yaw_rate - _BASE_YAW) / _STEP_YAW)
        if number in self.sent:
            self.received.setdefault(number, received_ns)


@contextmanager
def _listening(on_datagram: Callable[[bytes, int], None]) -> Iterator[int]:
    """A UDP port whose datagrams go to ``on_datagram`` with the kernel's receive stamp."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

        def receive() -> None:
            while True:
                data, ancillary, _, _ = server.recvmsg(2048, 64)
                if data == b"stop":
                    return
                on_datagram(data, receipt_ns(ancillary))

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            server.sendto(b"stop", ("127.0.0.1", port))
            thread.join(1)


async def run(runs: int, progress: Progress) -> list[Row]:
    """``runs`` bursts of ``COMMANDS`` commands, quiet and loaded."""
    ours, theirs = Latencies(), Latencies()
    parser = mavlink.MAVLink(None)

    def on_log(data: bytes, _: int) -> None:
        body = json.loads(data)
        if body.get("yaw_rate") is not None:
            ours.saw(body["yaw_rate"], body["received_ns"])

    def on_baseline(data: bytes, received_ns: int) -> None:
        for message in parser.parse_buffer(data) or []:
            theirs.saw(message.yaw_rate, received_ns)

    with ExitStack() as stack:
        log_port = stack.enter_context(_listening(on_log))
        baseline_port = stack.enter_context(_listening(on_baseline))
        params = stack.enter_context(_vehicle_params(log_port))
        async with running("--params-file", str(params), robot="drive") as rig, _loads() as load:
            await rig.ready()
            client = await rig.nats()
            operator = Operator(rig, client)
            await operator.next(CAMERA)
            await _until_it_moves(operator, ours)
            _start_baseline(load, rig, baseline_port)
            rows = await _bursts(runs, progress, "", operator, client, ours, theirs)
            _start_load(load, rig)
            await asyncio.sleep(2)
            rows += await _bursts(runs, progress, "_loaded", operator, client, ours, theirs)
    return rows


@asynccontextmanager
async def _loads() -> AsyncIterator[ExitStack]:
    """What is entered here ends before the robot does, so that it loses no server."""
    with ExitStack() as stack:
        yield stack


@contextmanager
def _vehicle_params(log_port: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "drive.yaml")
        path.write_text(
            f'/**/vehicle:\n  ros__parameters:\n    setpoint_log: "udp:127.0.0.1:{log_port}"\n'
        )
        yield path


async def _until_it_moves(operator: Operator, ours: Latencies) -> None:
    """Drive until the first setpoint is seen: the robot has armed and everything is warm."""
    deadline = time.monotonic() + 10
    ours.sent[0] = 0
    while not ours.received:
        if time.monotonic() > deadline:
            raise RuntimeError("no setpoint reached the vehicle within 10 s")
        await operator.send(_command(0))
        await asyncio.sleep(0.05)


def _command(number: int) -> bytes:
    yaw = _BASE_YAW + _STEP_YAW * number
    return b'{"linear":{"x":0.2},"angular":{"z":%.4f}}' % yaw


def _start_baseline(stack: ExitStack, rig: Rig, port: int) -> None:
    script = str(Path(__file__).parent / "baselines" / "drive.py")
    for arguments in (("out", f"127.0.0.1:{port}"), ("in", rig.nats_url)):
        stack.enter_context(loads.process(*arguments, domain=rig.domain, script=script))


def _start_load(stack: ExitStack, rig: Rig) -> None:
    stack.enter_context(loads.process("cameras", domain=rig.domain))
    urls = ("--nats-url", rig.nats_url, "--foxglove-url", rig.foxglove_url)
    names = ("--robot", rig.robot, *loads.camera_topics())
    stack.enter_context(loads.process("viewer", *urls, *names, domain=rig.domain))


async def _bursts(
    runs: int,
    progress: Progress,
    suffix: str,
    operator: Operator,
    client: Client,
    ours: Latencies,
    theirs: Latencies,
) -> list[Row]:
    figures: dict[str, list[float]] = {}
    for number in range(runs):
        progress(f"burst {number + 1} of {runs}{' under load' if suffix else ''}")
        for stream in (ours, theirs):
            stream.sent.clear()
            stream.received.clear()
        await _burst(operator, client, ours, theirs)
        for percent in (50, 99):
            for name, stream in (("ours", ours), ("theirs", theirs)):
                figures.setdefault(f"{name}{percent}", []).append(percentile(stream.ms(), percent))
        figures.setdefault("lost", []).append(ours.lost())
        figures.setdefault("lost_baseline", []).append(theirs.lost())
    return [
        row(f"p50{suffix}_ms", figures["ours50"], "ms", figures["theirs50"]),
        row(f"p99{suffix}_ms", figures["ours99"], "ms", figures["theirs99"]),
        row(f"lost{suffix}", figures["lost"], "1", figures["lost_baseline"]),
    ]


async def _burst(operator: Operator, client: Client, ours: Latencies, theirs: Latencies) -> None:
    """Our command, and half a period later the baseline's; their setpoints do not overlap."""
    numbers = iter(range(COMMANDS))

    async def step() -> None:
        number = next(numbers)
        payload = _command(number % _IDS)
        ours.sent[number % _IDS] = time.monotonic_ns()
        await operator.send(payload)
        await asyncio.sleep(0.5 / RATE_HZ)
        theirs.sent[number % _IDS] = time.monotonic_ns()
        await client.publish("baseline.cmd_vel", payload)

    await repeat(step, COMMANDS / RATE_HZ, RATE_HZ)
    await asyncio.sleep(0.2)


if __name__ == "__main__":
    main("drive", run, DEFAULT_RUNS)
