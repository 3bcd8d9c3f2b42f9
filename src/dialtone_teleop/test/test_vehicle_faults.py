"""Engine and MAVLink actuator against a vehicle that is hurt, with every setpoint written down."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.clock import SystemClock
from dialtone_core.command import Command, Twist
from dialtone_core.errors import ConfigError
from dialtone_core.ports import free_ports
from dialtone_teleop.actuators.mavlink import MavlinkActuator
from dialtone_teleop.engine import Engine
from dialtone_teleop.mavlink_signing import sign
from dialtone_teleop.params import LeaseParams, MavlinkParams, TeleopParams
from dialtone_teleop.pipeline import Pipeline

Until = Callable[..., object]
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


class Robot:
    """Engine and actuator in this process; ``drive`` sends what an operator would."""

    def __init__(self, port: int, **mavlink_params: Any) -> None:
        self.clock = SystemClock()
        params = TeleopParams(
            mavlink=MavlinkParams(url=f"udpin:127.0.0.1:{port}", auto_arm=True, **mavlink_params),
            lease=LeaseParams(implicit=("cmd_vel",)),
        )
        self.actuator = MavlinkActuator(params.mavlink, self.clock)
        self.engine = Engine(Pipeline(params), self.actuator, self.clock, lambda _: None)
        self.lines: list[str] = []
        self.actuator.open(lambda _: None, lambda _, line: self.lines.append(line))
        self.engine.start()

    def drive(self, x: float = 0.3) -> tuple[str, ...]:
        """One command; the reasons."""
        now_ns = self.clock.monotonic_ns()
        return self.engine.command(Command("cmd_vel", Twist(x), now_ns), time.time_ns()).reasons

    def drive_for(self, duration_s: float) -> set[str]:
        """Command at 20 Hz; every reason given."""
        end, pause = time.monotonic() + duration_s, threading.Event()
        reasons: set[str] = set()
        while time.monotonic() < end:
            reasons.update(self.drive())
            pause.wait(0.05)
        return reasons

    def close(self) -> None:
        self.engine.close()
        self.actuator.close()


class Log:
    """Every setpoint that the vehicle received, accepted or not."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.url = f"udp:127.0.0.1:{self.socket.getsockname()[1]}"
        self.seen: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        while True:
            try:
                self.seen.append(json.loads(self.socket.recv(4096)))
            except BlockingIOError:
                return self.seen

    def moving(self) -> list[dict[str, Any]]:
        return [each for each in self.read() if each["vx"] or each["vy"] or each["yaw_rate"]]


@contextmanager
def vehicle(port: int, log: Log, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The simulated rover in a process of its own."""
    command = [sys.executable, "-m", "dialtone_sim.vehicle", "--setpoint-log", log.url]
    command += ["--mavlink-url", f"udpout:127.0.0.1:{port}", "--pose-urls", "", *options]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    with closing(made.socket):
        yield made


def port() -> int:
    return free_ports(1, kind=socket.SOCK_DGRAM)[0]


def ready(robot: Robot) -> bool:
    return robot.actuator.state(robot.clock.monotonic_ns()).ready


def test_an_autopilot_that_reboots_while_it_drives_is_not_moved_before_it_is_armed(
    until: Until, log: Log
) -> None:
    at = port()
    with closing(Robot(at)) as robot:
        with vehicle(at, log):
            until("armed", lambda: ready(robot))
            robot.drive_for(0.3)
        with vehicle(at, log):
            reasons = robot.drive_for(2.5)
            until("armed anew", lambda: ready(robot))
        assert "arming" in reasons
        # Until the reboot shows in the telemetry a setpoint may still be sent, and is refused.
        assert all(each["accepted"] or each["reason"] for each in log.moving())


def peer_codec(key: bytes | None) -> Any:
    codec = mavlink.MAVLink(None, 1, 1)
    if key is not None:
        sign(codec, key)
    return codec


@pytest.mark.parametrize("key", [OTHER_KEY, None], ids=["wrong key", "unsigned"])
def test_a_vehicle_that_signs_wrongly_is_no_vehicle(
    until: Until, tmp_path: Path, key: bytes | None
) -> None:
    file = key_file(tmp_path)
    at, codec = port(), peer_codec(key)
    with (
        closing(Robot(at, signing_key_file=str(file))) as robot,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as peer,
    ):
        peer.connect(("127.0.0.1", at))
        until("listening", lambda: robot.lines)
        for _ in range(10):
            peer.send(mavlink.MAVLink_heartbeat_message(10, 3, 129, 15, 4, 3).pack(codec))
        until("counted", lambda: robot.actuator.figures()["signature_refused"] == 10)
        assert robot.drive() == ("no_vehicle",)


def test_a_vehicle_that_signs_with_our_key_is_heard_and_answered_signed(
    until: Until, tmp_path: Path
) -> None:
    at, codec = port(), peer_codec(KEY)
    codec.robust_parsing = True
    with (
        closing(Robot(at, signing_key_file=str(key_file(tmp_path)))) as robot,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as peer,
    ):
        peer.connect(("127.0.0.1", at))
        peer.settimeout(5)
        until("listening", lambda: robot.lines)
        heartbeat = mavlink.MAVLink_heartbeat_message(10, 3, 129, 15, 4, 3).pack(codec)
        peer.send(heartbeat)
        until("heard", lambda: robot.actuator.state(robot.clock.monotonic_ns()).link)
        heard = codec.parse_buffer(peer.recv(4096))
        assert heard[0].get_type() != "BAD_DATA"
        assert heard[0].get_signed()
        peer.send(heartbeat)
        until("a replay is refused", lambda: robot.actuator.figures()["signature_refused"] == 1)


def key_file(folder: Path) -> Path:
    path = folder / "mavlink.key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    return path


def test_a_bad_key_file_stops_the_start_and_is_never_shown(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        Robot(port(), signing_key_file=str(path))
    path.chmod(0o600)
    path.write_text("secret but short")
    with pytest.raises(ConfigError, match="openssl rand -hex 32") as caught:
        Robot(port(), signing_key_file=str(path))
    assert "secret" not in str(caught.value)
    os.unlink(path)
    with pytest.raises(ConfigError, match="signing_key_file"):
        Robot(port(), signing_key_file=str(path))
