"""A robot on a serial cable, in this process: engine and actuator, and the simulated rover.

For faults of the line and of the vehicle, which a whole robot cannot be given: the cable is a
pseudo terminal whose other end passes bytes on to the rover's process, and can be cut, disturbed
or signed over. Every setpoint that reached the rover is seen by an ``Observer``.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_bringup.observer import RATE_HZ, RENEW_S, Observer
from dialtone_core.clock import SystemClock
from dialtone_core.command import Command, Envelope, Twist
from dialtone_teleop.actuators.mavlink import MavlinkActuator
from dialtone_teleop.engine import Engine
from dialtone_teleop.params import MavlinkParams, TeleopParams
from dialtone_teleop.pipeline import Pipeline

_MAGIC, _HEADER, _CHECKSUM, _SIGNATURE = 0xFD, 10, 2, 13


class SteppingClock(SystemClock):
    """The machine's clock, whose wall clock somebody steps."""

    def __init__(self) -> None:
        self.step_ns = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.step_ns


class Framer:
    """Bytes of a line to MAVLink 2 frames, one a datagram, as the rover takes them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The whole frames so far; what is between them is dropped."""
        frames, rest = [], self._rest + data
        while (start := rest.find(_MAGIC)) >= 0:
            rest = rest[start:]
            if len(rest) < _HEADER:
                break
            size = _HEADER + rest[1] + _CHECKSUM + (_SIGNATURE if rest[2] & 1 else 0)
            if len(rest) < size:
                break
            frames.append(rest[:size])
            rest = rest[size:]
        else:
            rest = b""
        self._rest = rest
        return frames


class Cable:
    """From ``port``, a device's name, to the rover's UDP port. ``plug`` it first."""

    def __init__(self, port: Path) -> None:
        self.port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"udpout:127.0.0.1:{self._socket.getsockname()[1]}"
        self._rover: tuple[str, int] | None = None
        self._master = self._slave = -1
        self._framer = Framer()
        self._cut_after = 0
        self._stopping = False
        self._lock = threading.Lock()
        #: Signs what the rover says anew; ``None`` passes it on as it is.
        self.signer: Any = None
        self._codec = mavlink.MAVLink(None, 1, 1)
        self._codec.robust_parsing = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    def plug(self) -> None:
        with self._lock:
            self._framer = Framer()
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self.port.symlink_to(os.ttyname(self._slave))

    def cut_in_the_next_frame(self, after_bytes: int = 7) -> None:
        """Unplug when only so many bytes of what is written next have come through."""
        self._cut_after = after_bytes

    def disturb(self, data: bytes) -> None:
        """Noise, in both directions."""
        with self._lock:
            self._to_robot(data)
        self.to_rover(data)

    def to_rover(self, data: bytes) -> None:
        """As from another radio on the same rover."""
        if self._rover is not None:
            self._socket.sendto(data, self._rover)

    def close(self) -> None:
        self._stopping = True
        self._thread.join()
        with self._lock:
            self._unplug()
        self._socket.close()

    def _unplug(self) -> None:
        if self._master >= 0:
            self.port.unlink()
            os.close(self._slave)
            os.close(self._master)
            self._master = -1

    def _run(self) -> None:
        while not self._stopping:
            watched: list[Any] = [self._socket, *([self._master] if self.plugged else [])]
            readable, _, _ = select.select(watched, [], [], 0.02)
            with self._lock:
                if self._master in readable:
                    self._from_robot()
                if self._socket in readable:
                    data, self._rover = self._socket.recvfrom(4096)
                    self._to_robot(self._signed(data))

    def _from_robot(self) -> None:
        with suppress(OSError):  # nobody has the port open
            if self._cut_after:
                os.read(self._master, self._cut_after)
                self._cut_after = 0
                self._unplug()
                return
            for frame in self._framer.feed(os.read(self._master, 4096)):
                self.to_rover(frame)

    def _to_robot(self, data: bytes) -> None:
        if self.plugged:
            with suppress(OSError):  # nobody reads
                os.write(self._master, data)

    def _signed(self, data: bytes) -> bytes:
        if self.signer is None:
            return data
        messages = self._codec.parse_buffer(data) or ()
        return b"".join(m.pack(self.signer) for m in messages if m.get_type() != "BAD_DATA")


class Driver:
    """Ada, who holds the lease and the key: commands at 20 Hz while ``speed_mps`` is a number."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.speed_mps: float | None = None
        self._seq = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        renew_s = 0.0
        while not self._stopping.wait(1 / RATE_HZ):
            if time.monotonic() >= renew_s:
                renew_s = time.monotonic() + RENEW_S
                self._engine.acquire("ada/1", "operator")
            if self.speed_mps is not None:
                self._seq += 1
                issued_ns = time.time_ns()
                envelope = Envelope("ada/1", self._seq, 300_000_000, issued_ns)
                now_ns = time.monotonic_ns()
                self._engine.command(Command("nats", Twist(self.speed_mps), now_ns, envelope))


class LineRobot:
    """Everything of it; ``actuator.state`` says what the robot knows of the rover."""

    def __init__(self, cable: Cable, **mavlink_settings: Any) -> None:
        self.clock = SteppingClock()
        settings = MavlinkParams(
            url=f"serial:{cable.port}:115200", auto_arm=True, **mavlink_settings
        )
        params = TeleopParams(mavlink=settings)
        self.actuator = MavlinkActuator(settings, self.clock)
        self.engine = Engine(Pipeline(params), self.actuator, self.clock, lambda _: None)
        self.lines: list[str] = []
        self.actuator.open(lambda _: None, lambda _, line: self.lines.append(line))
        self.engine.start()

    def ready(self) -> bool:
        return self.actuator.state(self.clock.monotonic_ns()).ready

    def reason(self) -> str:
        return self.actuator.state(self.clock.monotonic_ns()).reason

    def close(self) -> None:
        self.engine.close()
        self.actuator.close()


@contextmanager
def rover(cable: Cable, observer: Observer, *options: str) -> Iterator[None]:
    """The simulated rover in a process of its own, at the far end of ``cable``."""
    command = [sys.executable, "-m", "dialtone_sim.vehicle", "--pose-urls", ""]
    command += ["--setpoint-log", f"udp:127.0.0.1:{observer.port}", "--mavlink-url", cable.url]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def line_robot(
    *options: str, **mavlink_settings: Any
) -> Iterator[tuple[LineRobot, Cable, Observer, Driver]]:
    """A robot, plugged in; ``options`` are the rover's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        observer = Observer()
        stack.callback(observer.close)
        cable = Cable(folder / "ttyACM0")
        stack.callback(cable.close)
        stack.enter_context(rover(cable, observer, *options))
        cable.plug()
        robot = LineRobot(cable, **mavlink_settings)
        stack.callback(robot.close)
        driver = Driver(robot.engine)
        stack.callback(driver.close)
        yield robot, cable, observer, driver
