"""Devices on a pseudo terminal: the neck's firmware and a microcontroller that takes twists."""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path

from dialtone_core.errors import WireError
from dialtone_teleop.twist_protocol import (
    WATCHDOG_TRIPPED,
    Splitter,
    Status,
    decode_twist,
    encode_status,
)


class Pty(ABC):
    """A serial cable: ``port`` is a name that stays while what it points to comes and goes."""

    def __init__(self, port: Path) -> None:
        self.port = port
        self.master = -1
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.stalled = False

    def plug(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(self.master)
        tty.setraw(slave)
        self.port.unlink(missing_ok=True)
        self.port.symlink_to(os.ttyname(slave))
        self._slave = slave
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """The device is pulled: a hang-up for whoever has it open. Idempotent."""
        if self.master < 0:
            return
        self._stopping.set()
        assert self._thread is not None
        self._thread.join(5.0)
        self.port.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self.master)
        self.master = -1

    close = unplug

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    @abstractmethod
    def on_bytes(self, data: bytes) -> None:
        """Take what arrived."""

    @abstractmethod
    def on_tick(self) -> None:
        """Called often."""

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.stalled:  # reads nothing, so that the cable's buffers fill
                self._stopping.wait(0.02)
                continue
            readable, _, _ = select.select([self.master], [], [], 0.02)
            if readable:
                try:
                    self.on_bytes(os.read(self.master, 4096))
                except OSError:
                    return
            self.on_tick()


class NeckFirmware(Pty):
    """Answers as the firmware does; while it homes it reads nothing."""

    def __init__(self, port: Path, *, home_s: float = 0.2, device: str = "NECK") -> None:
        super().__init__(port)
        self.home_s = home_s
        self.device = device
        self.lines: deque[str] = deque(maxlen=10_000)
        self.deaf = False
        self._rest = b""

    @property
    def moves(self) -> list[str]:
        return [each for each in self.lines if each != "HEALTH"]

    def on_tick(self) -> None:
        """The neck says nothing of its own accord."""

    def on_bytes(self, data: bytes) -> None:
        if self.deaf:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = raw.decode("ascii", "replace").strip()
            if not line:
                continue
            self.lines.append(line)
            if line.startswith("HOME"):
                self._stopping.wait(self.home_s)
            elif line in ("HEALTH", "STATUS"):
                up_ms = int(time.monotonic() * 1000)
                role = f"DEVICE={self.device}|ROLE=STEWART_NECK|PROTO=1|UPTIME_MS={up_ms}"
                self.write(f"HEALTH|{role}\r\n".encode())


class TwistBoard(Pty):
    """A microcontroller with the watchdog that docs/twist_serial.md asks for."""

    def __init__(self, port: Path, encoding: str = "json") -> None:
        super().__init__(port)
        self.encoding = encoding
        self.twists: deque[tuple[float, float]] = deque(maxlen=10_000)
        self.speed = 0.0
        self.refused = 0
        self.mute = False
        self.flags = 0
        self.stopped_after_s = 0.0
        self._seq = 0
        self._fed_s = 0.0
        self._ttl_s = 0.0
        self._told_s = 0.0
        self._splitter = Splitter.of(encoding)

    def on_bytes(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            try:
                twist, self._seq, ttl_ms = decode_twist(self.encoding, frame)
            except WireError:
                self.refused += 1
                continue
            self._fed_s, self._ttl_s = time.monotonic(), ttl_ms / 1000
            self.speed = twist.x
            self.flags &= ~WATCHDOG_TRIPPED
            self.twists.append((twist.x, twist.yaw))

    def on_tick(self) -> None:
        now_s = time.monotonic()
        if self.speed and now_s - self._fed_s > self._ttl_s:
            self.speed, self.flags = 0.0, self.flags | WATCHDOG_TRIPPED
            self.stopped_after_s = now_s - self._fed_s
        if not self.mute and now_s - self._told_s > 0.1:
            self._told_s = now_s
            status = Status(self._seq, self.flags, self.speed, 0.0, 0.75)
            self.write(encode_status(self.encoding, status))
