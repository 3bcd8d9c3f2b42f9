"""The line to the autopilot, broken in the ways lines break: real sockets, a real pty."""

from __future__ import annotations

import os
import random
import socket
import termios
import threading
import tty
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.clock import SystemClock
from dialtone_core.command import STOP, Twist
from dialtone_core.config import build
from dialtone_core.errors import ConfigError
from dialtone_core.ports import free_ports
from dialtone_teleop.actuators.mavlink import MavlinkActuator
from dialtone_teleop.autobaud import find_serial
from dialtone_teleop.link_url import parse_link_url
from dialtone_teleop.mavlink_session import Session
from dialtone_teleop.params import MavlinkParams, TeleopParams

Lines = list[tuple[str, str]]


def heartbeat() -> bytes:
    codec = mavlink.MAVLink(None, 1, 1)
    return bytes(mavlink.MAVLink_heartbeat_message(10, 3, 129, 15, 4, 3).pack(codec))


def opened(url: str) -> tuple[MavlinkActuator, Lines]:
    lines: Lines = []
    actuator = MavlinkActuator(MavlinkParams(url=url), SystemClock())
    actuator.open(lambda _: None, lambda level, line: lines.append((level, line)))
    return actuator, lines


def linked(actuator: MavlinkActuator) -> bool:
    return actuator.state(SystemClock().monotonic_ns()).link


def opened_times(lines: Lines, count: int) -> bool:
    return sum(line.endswith("is open") for _, line in lines) == count


def waits(until: Callable[..., object], what: str, condition: Callable[[], object]) -> None:
    until(what, condition, 8.0)


def test_a_tcp_connection_that_breaks_is_made_again(until: Callable[..., object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        actuator, lines = opened(f"tcp:127.0.0.1:{server.getsockname()[1]}")
        with closing(actuator):
            for times in (1, 2):
                peer, _ = server.accept()
                waits(until, "open", partial(opened_times, lines, times))
                peer.sendall(heartbeat())
                waits(until, "linked", lambda: linked(actuator))
                peer.close()
                waits(until, "noticed", lambda: lines[-1][0] == "error")
            errors = [line for level, line in lines if level == "error"]
            assert len(errors) == 2
            assert errors[0].startswith("tcp:127.0.0.1:")


def test_a_serial_port_that_is_pulled_and_plugged_in_again_heals(
    until: Callable[..., object], tmp_path: Path
) -> None:
    port = tmp_path / "ttyACM0"
    actuator, lines = opened(f"serial:{port}:115200")
    with closing(actuator):
        waits(until, "reported missing", lambda: any("Fix:" in line for _, line in lines))
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(master)
            port.symlink_to(os.ttyname(slave))
            waits(until, "open", lambda: lines[-1][1].endswith("is open"))
            os.close(slave)
            os.write(master, heartbeat())
            waits(until, "linked", lambda: linked(actuator))
            assert actuator.send(STOP) == STOP
            assert actuator.send(Twist(0.5)) is None
            port.unlink()
            os.close(master)
            waits(until, "noticed", lambda: lines[-1][0] == "error")
        assert len([line for level, line in lines if level == "error"]) == 3


class Radio:
    """An autopilot on a pty that cares about the baud rate, as a real line does.

    The kernel keeps the rate that was set on the slave side; at any other than ours the other end
    hears garbage.
    """

    def __init__(self, port: Path, rate: int) -> None:
        self._rate = getattr(termios, f"B{rate}")
        self._port = port
        self.master, self._slave = os.openpty()
        tty.setraw(self.master)
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        port.symlink_to(os.ttyname(self._slave))
        self._thread.start()

    def _run(self) -> None:
        os.set_blocking(self.master, False)
        dice = random.Random(1)
        while not self._pause.wait(0.005):
            right = termios.tcgetattr(self.master)[5] == self._rate
            with suppress(OSError):  # nobody has it open, or nobody reads
                os.write(self.master, heartbeat() if right else dice.randbytes(80))
            with suppress(OSError):
                os.read(self.master, 4096)

    def unplug(self) -> None:
        self._pause.set()
        self._thread.join()
        self._port.unlink()
        os.close(self._slave)
        os.close(self.master)


def test_the_baud_rate_and_the_device_are_found_and_again_after_a_change_of_both(
    until: Callable[..., object], tmp_path: Path
) -> None:
    actuator, lines = opened(f"serial:{tmp_path}/ttyACM*:auto")
    with closing(actuator):
        waits(until, "reported missing", lambda: any("no device matches" in x for _, x in lines))
        for device, rate in (("ttyACM0", 57600), ("ttyACM1", 921600)):
            radio = Radio(tmp_path / device, rate)
            said = f"an autopilot speaks on {tmp_path}/{device} at {rate} baud"
            waits(until, said, partial(lines.__contains__, ("info", said)))
            waits(until, "linked", lambda: linked(actuator))
            assert actuator.send(STOP) == STOP
            radio.unplug()
            waits(until, "noticed", lambda: lines[-1][0] == "error")


def test_a_device_that_speaks_no_mavlink_at_any_rate_is_named(tmp_path: Path) -> None:
    radio = Radio(tmp_path / "ttyUSB0", 300)
    try:
        with pytest.raises(OSError, match="ttyUSB0: no MAVLink is heard at any baud rate"):
            find_serial(parse_link_url(f"serial:{tmp_path}/ttyUSB0:auto"), 0.1, threading.Event())
    finally:
        radio.unplug()


def test_a_port_that_another_program_holds_is_named_and_taken_once_free(
    until: Callable[..., object],
) -> None:
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        actuator, lines = opened(f"udpin:127.0.0.1:{port}")
        waits(until, "reported", lambda: lines)
        assert f"udpin:127.0.0.1:{port}" in lines[0][1]
    with closing(actuator):
        waits(until, "open", lambda: lines[-1][1].endswith("is open"))
    assert len(lines) == 2


def test_closing_twice_and_sending_before_opening_do_nothing() -> None:
    actuator = MavlinkActuator(MavlinkParams(url="udpin:127.0.0.1:1"), SystemClock())
    assert actuator.send(Twist(1.0)) is None
    actuator.close()
    actuator.close()


@given(*[st.floats(-10, 10, width=32)] * 4)
def test_a_setpoint_turns_left_up_and_counterclockwise_into_right_down_and_clockwise(
    x: float, y: float, z: float, yaw: float
) -> None:
    session = Session(MavlinkParams(), lambda *_: None)
    codec = mavlink.MAVLink(None, 1, 191)
    data = session.setpoint(Twist(x, y, z, 0, 0, yaw), 7).pack(codec)
    message = codec.decode(bytearray(data))
    assert data[0] == 0xFD
    assert (message.coordinate_frame, message.type_mask) == (8, 0x5E7)
    assert (message.vx, message.vy, message.vz, message.yaw_rate) == (x, -y, -z, -yaw)


@pytest.mark.parametrize(
    "url", ["", "udp", "udpin:1", "serial:/dev/x", "serial:/dev/x:0", "tcp:h:99999", "tcp:h:auto"]
)
def test_a_url_that_is_none_stops_the_start_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match=r"mavlink\.url is"):
        build(TeleopParams, {"mavlink": {"url": url}})


def test_a_source_that_may_be_silent_too_long_stops_the_start_by_name() -> None:
    with pytest.raises(ConfigError, match=r"sources\.slow\.timeout_s is 0\.5"):
        build(TeleopParams, {"sources": {"slow": {"timeout_s": 0.5}}})
