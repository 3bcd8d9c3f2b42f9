"""A robot without ROS on a real nats-server, and a person at a real pseudo terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import Any

import nats
import pyte

from dialtone_core.clock import SystemClock
from dialtone_core.command import Command, Twist
from dialtone_core.config import build
from dialtone_core.wire import decode_velocity
from dialtone_teleop.actuators.sim import SimActuator
from dialtone_teleop.control import Control
from dialtone_teleop.engine import Engine
from dialtone_teleop.params import TeleopParams
from dialtone_teleop.pipeline import Pipeline
from dialtone_teleop.remote import Remote

_DRIVE = "import typer; from dialtone_teleop.verbs.drive import drive; typer.run(drive)"
_ROWS, _COLUMNS = 30, 90


class SimRobot:
    """Teleop's engine on a simulated vehicle. ``commands``: (monotonic s, twist) as they came."""

    def __init__(self, url: str, *, services: bool = True) -> None:
        self.commands: list[tuple[float, Twist]] = []
        params = build(TeleopParams, {"actuator": "sim", "lease": {"implicit": ["nats"]}})
        clock = SystemClock()
        self.vehicle = SimActuator(False, clock)
        self.engine = Engine(Pipeline(params), self.vehicle, clock, lambda _: None)
        control = Control(self.engine, params, clock)
        self._services = services
        if services:
            self._remote = Remote("rover", url, "", control.handlers(), lambda *_: None)
            self._remote_events(control)
        self._clock, self._url = clock, url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def _remote_events(self, control: Control) -> None:
        self.engine.on_lease = lambda event: self._remote.tell(
            "teleop.lease", control.lease_event(event)
        )

    def open(self) -> None:
        self.vehicle.open(lambda _: None, lambda *_: None)
        self.engine.start()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._subscribe(), self._loop).result(10)
        if self._services:
            self._remote.open()

    def close(self) -> None:
        if self._services:
            self._remote.close()
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.engine.close()

    def speed(self) -> float:
        """What the vehicle was told last (m/s)."""
        return self.vehicle.setpoints[-1][1].x if self.vehicle.setpoints else 0.0

    def last_asked(self) -> float:
        return self.commands[-1][1].x if self.commands else 0.0

    def holder(self) -> str:
        holder = self.engine.status().holder
        return holder.operator if holder else ""

    async def _subscribe(self) -> None:
        self._client = await nats.connect(
            self._url, max_reconnect_attempts=-1, reconnect_time_wait=0.05
        )

        async def on_command(message: Any) -> None:
            twist, envelope = decode_velocity(message.data)
            self.commands.append((time.monotonic(), twist))
            received_ns = self._clock.monotonic_ns()
            if not self._services:
                envelope = type(envelope)()
            self.engine.command(Command("nats", twist, received_ns, envelope))

        await self._client.subscribe("dt.rover.cmd.cmd_vel", cb=on_command)
        await self._client.flush()


class Driver:
    """``dialtone drive`` in a terminal; ``kitty``: one that reports releases."""

    def __init__(self, url: str, *options: str, kitty: bool = False) -> None:
        self.kitty = kitty
        self.answers_pings = True
        self.raw = b""
        self._screen = pyte.Screen(_COLUMNS, _ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _DRIVE, "--nats-url", url, "--user", "ada", *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"},
        )
        self._mode = termios.tcgetattr(slave)
        self._slave = slave
        self._hung_up = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def type(self, data: bytes) -> None:
        os.write(self._master, data)

    def press(self, letter: str) -> None:
        self.type(f"\x1b[{ord(letter)};1:1u".encode() if self.kitty else letter.encode())

    def release(self, letter: str) -> None:
        self.type(f"\x1b[{ord(letter)};1:3u".encode())

    def text(self) -> str:
        with self._lock:
            return "\n".join(self._screen.display)

    def echoes_again(self) -> bool:
        """Whether the terminal is as it was."""
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def hang_up(self) -> None:
        """The terminal's window is closed: SIGHUP, and EIO for whoever goes on writing."""
        self._hung_up = True
        os.close(self._slave)
        os.killpg(self.process.pid, signal.SIGHUP)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self._hung_up:
            os.close(self._slave)
        self._thread.join(5.0)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            self.raw += data
            if self.kitty and b"\x1b[?u" in data:
                self.type(b"\x1b[?11u")
            if self.kitty and self.answers_pings and b"\x1b[5n" in data:
                self.type(b"\x1b[0n")
            with self._lock:
                # pyte knows no "CSI > … u" and would show its end.
                self._stream.feed(data.replace(b"\x1b[>11u", b"").replace(b"\x1b[?u", b""))
