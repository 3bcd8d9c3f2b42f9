"""Twists to a microcontroller: frames that survive a bad line, and a watchdog that stops it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serial_peers import TwistBoard

from dialtone_core.clock import SystemClock
from dialtone_core.command import STOP, Twist
from dialtone_core.errors import WireError
from dialtone_teleop.actuator_params import TwistSerialParams
from dialtone_teleop.actuators.twist_serial import TwistSerialActuator
from dialtone_teleop.twist_protocol import (
    FAULT,
    Splitter,
    Status,
    decode_status,
    decode_twist,
    encode_status,
    encode_twist,
)

CLOCK = SystemClock()
encodings = st.sampled_from(["json", "crc"])
speeds = st.floats(-50, 50, width=32)


@given(encodings, speeds, speeds, speeds, speeds, st.integers(0, 65535), st.integers(50, 1000))
def test_a_twist_is_read_as_it_was_written(
    encoding: str, x: float, y: float, z: float, yaw: float, seq: int, ttl_ms: int
) -> None:
    twist = Twist(x, y, z, 0.0, 0.0, yaw)
    data = encode_twist(encoding, twist, seq, ttl_ms)
    (frame,) = Splitter.of(encoding).feed(data)
    assert decode_twist(encoding, frame) == (twist, seq, ttl_ms)


@given(st.binary(max_size=64), st.integers(0, 200), st.integers(0, 7))
def test_a_crc_frame_with_any_bit_flipped_moves_nothing(noise: bytes, at: int, bit: int) -> None:
    data = bytearray(encode_twist("crc", Twist(0.5), 7, 300))
    at %= len(data) - 1
    data[at] ^= 1 << bit
    twists = []
    for frame in Splitter.of("crc").feed(noise + b"\0" + bytes(data)):
        try:
            twists.append(decode_twist("crc", frame))
        except WireError:
            continue
    assert not twists


@given(encodings, st.lists(st.binary(max_size=700), max_size=8))
def test_any_bytes_cut_anyhow_leave_the_next_frame_whole(
    encoding: str, pieces: list[bytes]
) -> None:
    splitter, end = Splitter.of(encoding), b"\0" if encoding == "crc" else b"\n"
    for piece in pieces:
        splitter.feed(piece)
    splitter.feed(end)
    status = Status(7, 0, 0.5, 0.25, 0.75)
    assert decode_status(encoding, splitter.feed(encode_status(encoding, status))[-1]) == status


def test_a_status_may_leave_out_what_is_not_measured() -> None:
    status = decode_status("json", b'{"seq":3}')
    assert (status.seq, status.flags) == (3, 0)
    assert math.isnan(status.battery)
    for bad in (b"{}", b"[]", b"{", b'{"seq":true}', b'{"seq":1,"x":"fast"}'):
        with pytest.raises(WireError):
            decode_status("json", bad)


@pytest.fixture(params=["json", "crc"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwistBoard]:
    made = TwistBoard(tmp_path / "ttyACM0", request.param)
    made.plug()
    yield made
    made.close()


@pytest.fixture
def actuator(board: TwistBoard) -> Iterator[TwistSerialActuator]:
    params = TwistSerialParams(ports=[str(board.port)], encoding=board.encoding, ttl_ms=100)
    made = TwistSerialActuator(params, CLOCK)
    made.open(lambda _: None, lambda *_: None)
    yield made
    made.close()


def reason(actuator: TwistSerialActuator) -> str:
    return actuator.state(CLOCK.monotonic_ns()).reason


def test_silence_is_stopped_by_the_board_itself(
    board: TwistBoard, actuator: TwistSerialActuator, until: Callable[..., Any]
) -> None:
    until("ready", lambda: not reason(actuator))
    assert actuator.send(Twist(0.5)) == Twist(0.5)
    until("moving", lambda: board.speed)
    until("stopped by its watchdog", lambda: board.stopped_after_s)
    assert board.stopped_after_s < 0.3
    until("told", lambda: actuator.state(CLOCK.monotonic_ns()).speed_mps == 0.0)


def test_a_board_that_reports_nothing_or_a_fault_is_not_driven_but_may_be_stopped(
    board: TwistBoard, actuator: TwistSerialActuator, until: Callable[..., Any]
) -> None:
    until("ready", lambda: not reason(actuator))
    assert actuator.state(CLOCK.monotonic_ns()).battery == 0.75
    board.flags |= FAULT
    until("fault", lambda: reason(actuator) == "device_fault")
    assert actuator.send(Twist(0.5)) is None
    board.flags, board.mute = 0, True
    until("silent", lambda: reason(actuator) == "link_lost")
    assert actuator.send(Twist(0.5)) is None
    assert actuator.send(STOP) == STOP


def test_noise_on_the_line_is_counted_and_passed_over(
    board: TwistBoard, actuator: TwistSerialActuator, until: Callable[..., Any]
) -> None:
    until("ready", lambda: not reason(actuator))
    board.write(os.urandom(2000) + b"\n\0garbage\n\0")
    until("counted", lambda: any(key.startswith("bad.") for key in actuator.figures()))
    until("ready", lambda: not reason(actuator))
    assert actuator.send(Twist(0.5)) == Twist(0.5)
