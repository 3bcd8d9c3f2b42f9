"""The neck over a real pseudo terminal: found, homed, acknowledged, pulled out, lied to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serial_peers import NeckFirmware

from dialtone_core.clock import SystemClock
from dialtone_core.command import STOP, Twist
from dialtone_teleop.actuator_params import NeckParams
from dialtone_teleop.actuators.neck import NeckActuator

Until = Callable[..., Any]
CLOCK = SystemClock()


class Head:
    """A neck on a pty and the actuator that looks for it."""

    def __init__(self, folder: Path) -> None:
        self.port = folder / "ttyUSB1"
        self.firmware = NeckFirmware(self.port)
        self.acks: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.neck: NeckActuator | None = None

    def open(self, **more: Any) -> NeckActuator:
        params = NeckParams(**{"ports": [str(self.port)], "probe_s": 1.0, **more})
        neck = NeckActuator(params, CLOCK)
        neck.on_ack = self.acks.append
        neck.open(lambda _: None, lambda level, line: self.lines.append((level, line)))
        self.neck = neck
        return neck

    def reason(self) -> str:
        assert self.neck is not None
        return self.neck.state(CLOCK.monotonic_ns()).reason

    def ready(self, until: Until) -> None:
        until("ready", lambda: not self.reason())

    def close(self) -> None:
        if self.neck is not None:
            self.neck.close()
        self.firmware.close()


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    made = Head(tmp_path)
    yield made
    made.close()


def test_the_device_that_says_it_is_a_neck_is_taken_among_the_candidates(
    head: Head, until: Until, tmp_path: Path
) -> None:
    other = NeckFirmware(tmp_path / "ttyUSB0", device="ARM")
    other.plug()
    head.firmware.plug()
    head.open(ports=[str(tmp_path / "missing"), str(other.port), str(head.port)])
    head.ready(until)
    assert head.firmware.moves == ["HOME_SOFT"]
    assert other.moves == []
    other.close()


def test_it_is_homed_on_connect_and_takes_no_motion_until_that_is_done(
    head: Head, until: Until
) -> None:
    head.firmware.home_s = 1.0
    head.firmware.plug()
    neck = head.open()
    until("homing", lambda: head.reason() == "homing")
    assert neck.command("X50") == "refused X50 (homing)"
    assert neck.send(Twist(yaw=0.5)) is None
    assert neck.send(STOP) == STOP
    head.ready(until)
    assert neck.command("X50") == "ok X50 -> X50,Y0,Z0,R0,P0,H0,S1,A1"
    until("heard", lambda: head.firmware.moves[-1].startswith("X50"))
    assert head.firmware.moves == ["HOME_SOFT", "X50,Y0,Z0,R0,P0,H0,S1,A1"]
    assert head.acks[0] == "ok HOME_SOFT -> HOME_SOFT"


def test_a_home_that_does_not_end_is_reported_and_the_head_is_looked_for_anew(
    head: Head, until: Until
) -> None:
    head.firmware.home_s = 1.5
    head.firmware.plug()
    head.open(home_timeout_s=1.0)
    until("reported", lambda: any("did not end its HOME" in line for _, line in head.lines))


def test_each_line_is_acknowledged_with_what_was_written(head: Head, until: Until) -> None:
    head.firmware.plug()
    neck = head.open(home="none")
    head.ready(until)
    assert neck.command("1:55,2:600") == "ok 1:55,2:600 -> 1:55,2:70"
    assert neck.command("X50,X60").startswith("refused X50,X60 (duplicate_field")
    assert neck.command("X1.5").startswith("refused X1.5 (not_integer")
    assert neck.command("Q:1,0,0,0,H30") == "ok Q:1,0,0,0,H30 -> Q:1,0,0,0,H30,S1"
    assert neck.command("HEALTH") == "ok HEALTH -> HEALTH"
    until("answered", lambda: any(ack.startswith("says HEALTH|") for ack in head.acks))
    until("heard", lambda: len(head.firmware.moves) == 2)
    assert head.firmware.moves == ["1:55,2:70", "Q:1,0,0,0,H30,S1"]
    assert neck.figures()["neck.refused.duplicate_field"] == 1


def test_nothing_moves_while_it_is_refused_but_questions_are_asked(
    head: Head, until: Until
) -> None:
    head.firmware.plug()
    neck = head.open(home="none")
    head.ready(until)
    neck.refusal = lambda operator: "" if operator == "ada/1" else "estop"
    for line in ("HOME", "X50", "1:10", "Q:1,0,0,0"):
        assert neck.command(line) == f"refused {line} (estop)"
    neck.attitude((1.0, 0.0, 0.0, 0.0))
    neck.joints({"neck_x": 0.1})
    assert neck.command("STATUS") == "ok STATUS -> STATUS"
    until("asked", lambda: "STATUS" in head.firmware.lines)
    assert head.firmware.moves == ["STATUS"]
    assert neck.command("X5", "ada/1").startswith("ok ")


def test_a_head_that_is_pulled_mid_write_is_found_again_and_homed_again(
    head: Head, until: Until
) -> None:
    head.firmware.plug()
    neck = head.open()
    for _ in range(2):
        head.ready(until)
        assert neck.command("X50").startswith("ok ")
        head.firmware.unplug()
        until("noticed", lambda: head.reason() == "line_down")
        assert neck.command("X60") == "refused X60 (line_down)"
        head.firmware.lines.clear()
        head.firmware.plug()
    head.ready(until)
    assert head.firmware.moves == ["HOME_SOFT"]
    assert neck.command("Y7") == "ok Y7 -> X0,Y7,Z0,R0,P0,H0,S1,A1"
    assert any("Fix: plug it in" in line for level, line in head.lines if level == "error")


def test_a_stream_of_lines_into_a_port_that_vanishes_loses_no_thread(
    head: Head, until: Until
) -> None:
    head.firmware.plug()
    neck = head.open(home="none")
    head.ready(until)
    head.firmware.stalled = True  # the buffers fill: a write waits, then fails
    assert neck.command("X1").startswith("ok ")
    many = ["X2"] * 500
    until("refused", lambda: [a for a in map(neck.command, many) if a.endswith("(line_down)")])
    head.firmware.unplug()
    head.firmware.stalled = False
    head.firmware.plug()
    head.ready(until)
    assert neck.command("X1").startswith("ok ")


def test_noise_and_half_frames_are_passed_on_as_text_and_break_nothing(
    head: Head, until: Until
) -> None:
    head.firmware.plug()
    neck = head.open()
    head.ready(until)
    head.firmware.write(b"ERR bad to")
    head.firmware.write(b"ken\r\n\xff\xfe\x00\x07\r\n" + os.urandom(4096) + b"\n")
    until("told", lambda: "says ERR bad token" in head.acks)
    head.firmware.write(b"HEALTH|DEV")
    head.ready(until)
    assert neck.command("X3").startswith("ok ")
    assert all(ack.isprintable() for ack in head.acks)


def test_a_firmware_that_hangs_is_noticed_though_the_port_stays_open(
    head: Head, until: Until
) -> None:
    head.firmware.plug()
    neck = head.open()
    head.ready(until)
    head.firmware.deaf = True
    until("noticed", lambda: head.reason() == "link_lost")
    assert neck.command("X50") == "refused X50 (link_lost)"
    head.firmware.deaf = False
    head.ready(until)


def test_attitudes_are_tilted_within_bounds_and_thinned(head: Head, until: Until) -> None:
    head.firmware.plug()
    neck = head.open(home="none", max_tilt_rad=0.5, max_rate_hz=5.0)
    head.ready(until)
    half = 0.5**0.5
    for _ in range(50):
        neck.attitude((half, half, 0.0, 0.0))
    until("heard", lambda: head.firmware.moves)
    assert head.firmware.moves[0] == "Q:0.9689,0.2474,0,0,H0,S1"
    assert len(head.firmware.moves) <= 3
    neck.attitude((1.0, 1.0, 0.0, 0.0))
    assert head.acks[-1] == "refused attitude (not_unit)"
