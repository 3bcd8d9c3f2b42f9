"""A ground station for tests: real MAVLink 2 on a real UDP socket."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymavlink.dialects.v20 import common as mavlink


class Station:
    """Listens on a port that the kernel chose and answers whoever called last."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.peer: tuple[str, int] | None = None
        self.codec = mavlink.MAVLink(None, srcSystem=255, srcComponent=190)
        self.codec.robust_parsing = True

    def send(self, message: Any) -> None:
        self.send_raw(message.pack(self.codec))
        self.codec.seq = (self.codec.seq + 1) % 256

    def send_raw(self, data: bytes) -> None:
        assert self.peer is not None
        self.socket.sendto(data, self.peer)

    def command(self, number: int, *params: float) -> int:
        """Send a COMMAND_LONG and return the result that its ACK carries."""
        padded = [*params, *([0.0] * (7 - len(params)))]
        self.send(mavlink.MAVLink_command_long_message(1, 1, number, 0, *padded))
        ack = self.wait_for("COMMAND_ACK", lambda message: message.command == number)
        return int(ack.result)

    def drive(self, vx: float, yaw_rate: float = 0.0) -> None:
        self.send(
            mavlink.MAVLink_set_position_target_local_ned_message(
                0, 1, 1, 8, 0x5C7, 0, 0, 0, vx, 0, 0, 0, 0, 0, 0, yaw_rate
            )
        )

    def wait_for(
        self, name: str, accept: Callable[[Any], bool] = lambda message: True, within_s: float = 5
    ) -> Any:
        """The next message ``name`` that ``accept`` likes."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data, self.peer = self.socket.recvfrom(2048)
            except TimeoutError:
                break
            for message in self.codec.parse_buffer(data) or []:
                if message.get_type() == name and accept(message):
                    return message
        raise AssertionError(f"no such {name} within {within_s} s")

    def take_over(self) -> None:
        """GUIDED and armed, as an operator's robot does it."""
        self.wait_for("HEARTBEAT")
        assert self.command(mavlink.MAV_CMD_DO_SET_MODE, 1, 15) == 0
        assert self.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1) == 0


@pytest.fixture
def station() -> Iterator[Station]:
    made = Station()
    yield made
    made.socket.close()


@pytest.fixture
def start_vehicle() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``vehicle`` with options; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dialtone_sim.vehicle", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
