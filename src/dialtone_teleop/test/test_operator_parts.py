"""The operator's tools in pieces: keys, hands, pad, and what a robot's bytes say."""

from __future__ import annotations

import errno
import math
import os
import select
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from dialtone_core.errors import DialtoneError, WireError
from dialtone_core.paths import RobotFile
from dialtone_teleop.cockpit.gamepad import (
    ABS_X,
    ABS_Y,
    BTN_EAST,
    BTN_TL,
    EV_ABS,
    EV_KEY,
    Gamepad,
    PadState,
    open_gamepad,
)
from dialtone_teleop.cockpit.hands import FIRST_HOLD_S, REPEAT_HOLD_S, Hands
from dialtone_teleop.cockpit.keys import (
    PRESS,
    RELEASE,
    REPEAT,
    Alive,
    Event,
    Focus,
    Key,
    KeyDecoder,
    Releases,
)
from dialtone_teleop.cockpit.picture import (
    battery_share,
    diagnostic_values,
    odometry_speed,
    string_data,
)
from dialtone_teleop.cockpit.robot import find_robot


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"wA ", [Key("w"), Key("a"), Key("space")]),
        (b"\x1b[A\x1bOD", [Key("up"), Key("left")]),
        (b"\x1b[119;1:1u\x1b[119;1:2u\x1b[119;1:3u",
         [Key("w", PRESS), Key("w", REPEAT), Key("w", RELEASE)]),
        (b"\x1b[1;1:3A", [Key("up", RELEASE)]),
        (b"\x1b[99;5u\x03", [Key("ctrl-c"), Key("ctrl-c")]),
        (b"\x1b[87:119;2u", [Key("w")]),
        (b"\x1b[I\x1b[O", [Focus(True), Focus(False)]),
        (b"\x1b[?11u\x1b[?0u", [Releases(True), Releases(False)]),
        (b"\x1b[0n\x1b[3n", [Alive()]),
        (b"\x1b[57441;2u\x1b[200~\xc3\xa4", []),
        (b"\x1b\x1b[B", [Key("escape"), Key("down")]),
    ],
)  # fmt: skip
def test_bytes_become_keys_however_they_are_cut(data: bytes, events: list[Event]) -> None:
    assert KeyDecoder().feed(data) == events
    decoder = KeyDecoder()
    assert [e for byte in data for e in decoder.feed(bytes([byte]))] == events


def test_a_lone_escape_is_a_key_after_a_pause() -> None:
    decoder = KeyDecoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.waiting
    assert decoder.flush() == [Key("escape")]
    assert not decoder.waiting


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_no_bytes_break_the_decoder_or_pile_up(pieces: list[bytes]) -> None:
    decoder = KeyDecoder()
    for piece in pieces:
        decoder.feed(piece)
    decoder.flush()
    assert Key("q") in decoder.feed(b"qqq")


def test_without_releases_a_key_holds_long_first_and_short_while_it_repeats() -> None:
    hands = Hands()
    hands.key(Key("w"), 0.0)
    assert hands.wants(FIRST_HOLD_S - 0.01) == (1, 0)
    assert hands.wants(FIRST_HOLD_S + 0.01) == (0, 0)
    hands.key(Key("w"), 1.0)
    hands.key(Key("w"), 1.5)
    assert hands.wants(1.5 + REPEAT_HOLD_S - 0.01) == (1, 0)
    assert hands.wants(1.5 + REPEAT_HOLD_S + 0.01) == (0, 0)


def test_opposite_keys_cancel_and_diagonals_add() -> None:
    hands = Hands()
    hands.releases = True
    for name in ("w", "a"):
        hands.key(Key(name), 0.0)
    assert hands.wants(99.0) == (1, 1)
    hands.key(Key("down"), 0.0)
    assert hands.wants(99.0) == (0, 1)


@given(st.booleans(), st.lists(st.tuples(st.sampled_from("wasd"), st.integers(1, 3),
                                         st.floats(0.001, 1.0)), max_size=40))  # fmt: skip
def test_silence_of_the_keyboard_stops_whatever_was_typed(
    releases: bool, typed: list[tuple[str, int, float]]
) -> None:
    hands, now_s = Hands(), 0.0
    down: set[str] = set()
    hands.releases = releases
    for name, event, pause_s in typed:
        now_s += pause_s
        hands.key(Key(name, event), now_s)
        down = down | {name} if event == PRESS else down - {name} if event == RELEASE else down
    forward, left = hands.wants(now_s + FIRST_HOLD_S + 0.01)
    if not releases or not down:
        assert (forward, left) == (0, 0)


def test_a_key_that_stays_down_over_a_stop_counts_only_when_pressed_anew() -> None:
    for releases in (True, False):
        hands = Hands()
        hands.releases = releases
        hands.key(Key("w"), 0.0)
        hands.let_go(0.1)
        for step in range(20):
            hands.key(Key("w", REPEAT if releases else PRESS), 0.2 + step * 0.05)
            assert hands.wants(0.2 + step * 0.05) == (0, 0)
        hands.key(Key("w", RELEASE), 2.5)
        hands.key(Key("w"), 2.5)
        assert hands.wants(2.5) == (1, 0)


def test_a_pad_drives_only_while_its_deadman_is_held() -> None:
    pad = PadState({ABS_X: (0, 255), ABS_Y: (0, 255)})
    pad.feed(EV_ABS, ABS_Y, 0)
    pad.feed(EV_ABS, ABS_X, 255)
    assert pad.wants() == (0.0, 0.0)
    pad.feed(EV_KEY, BTN_TL, 1)
    assert pad.wants() == (1.0, -1.0)
    pad.feed(EV_ABS, ABS_X, 130)
    assert pad.wants() == (1.0, 0.0)
    assert pad.feed(EV_KEY, BTN_EAST, 1)
    pad.feed(EV_KEY, BTN_TL, 0)
    assert pad.wants() == (0.0, 0.0)


class WiredPad:
    """What evdev's InputDevice is to us, with the kernel's own event structs from a pipe."""

    name = "a pad"
    _EVENT = struct.Struct("llHHi")

    def __init__(self) -> None:
        self.fd, self._kernel = os.pipe()
        os.set_blocking(self.fd, False)

    def capabilities(self) -> dict[int, Any]:
        axis = SimpleNamespace(min=0, max=255)
        return {EV_KEY: [BTN_EAST, BTN_TL], EV_ABS: [(ABS_X, axis), (ABS_Y, axis)]}

    def kernel_says(self, *events: tuple[int, int, int]) -> None:
        os.write(self._kernel, b"".join(self._EVENT.pack(0, 0, *each) for each in events))

    def read(self) -> Iterator[Any]:
        data = os.read(self.fd, 64 * self._EVENT.size)
        if not data:
            raise OSError(errno.ENODEV, "No such device")
        for _, _, kind, code, value in self._EVENT.iter_unpack(data):
            yield SimpleNamespace(type=kind, code=code, value=value)

    def unplug(self) -> None:
        os.close(self._kernel)

    def close(self) -> None:
        os.close(self.fd)


def test_a_pad_is_read_as_the_kernel_tells_it_and_an_unplugged_one_says_so() -> None:
    device = WiredPad()
    pad = Gamepad(device)
    try:
        assert (pad.name, pad.fileno()) == ("a pad", device.fd)
        device.kernel_says((EV_KEY, BTN_TL, 1), (EV_ABS, ABS_Y, 0), (0, 0, 0))
        assert not pad.read()
        assert pad.state.wants() == (1.0, 0.0)
        device.kernel_says((EV_KEY, BTN_EAST, 1), (EV_KEY, BTN_EAST, 0))
        assert pad.read(), "B is the e-stop, however quickly it is let go"
        device.unplug()
        with pytest.raises(OSError, match="No such device"):
            pad.read()
    finally:
        pad.close()


@pytest.mark.skipif(
    not os.access("/dev/uinput", os.W_OK) or find_spec("evdev") is None,
    reason="needs /dev/uinput and evdev",
)
def test_a_pad_that_the_kernel_made_is_found_and_drives(until: Callable[..., object]) -> None:
    import evdev

    axis = evdev.AbsInfo(value=128, min=0, max=255, fuzz=0, flat=0, resolution=0)
    able = {EV_KEY: [BTN_TL, BTN_EAST], EV_ABS: [(ABS_X, axis), (ABS_Y, axis)]}
    with evdev.UInput(able, name="dialtone test pad") as made:
        found = until("the pad appears", open_gamepad)
        assert isinstance(found, Gamepad)
        try:
            made.write(EV_KEY, BTN_TL, 1)
            made.write(EV_ABS, ABS_Y, 0)
            made.syn()
            until("its events are there", lambda: select.select([found], [], [], 0)[0])
            found.read()
            assert found.state.wants() == (1.0, 0.0)
        finally:
            found.close()


def test_what_ros_serialised_is_read_without_ros() -> None:
    odometry = Odometry()
    odometry.header.frame_id, odometry.child_frame_id = "odom", "base_link"
    odometry.twist.twist.linear.x, odometry.twist.twist.angular.z = 0.5, -0.25
    assert odometry_speed(serialize_message(odometry)) == (0.5, -0.25)
    battery = BatteryState(percentage=0.75)
    battery.header.frame_id = "base_link"
    assert battery_share(serialize_message(battery)) == 0.75
    assert battery_share(serialize_message(BatteryState(percentage=math.nan))) is None
    assert string_data(serialize_message(String(data="ok HOME -> HOME"))) == "ok HOME -> HOME"
    values = [KeyValue(key="armed", value="True"), KeyValue(key="mode", value="GUIDED")]
    status = DiagnosticStatus(level=b"\1", name="teleop", message="idle", values=values)
    assert diagnostic_values(serialize_message(status)) == {"armed": "True", "mode": "GUIDED"}


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_crashes(payload: bytes) -> None:
    for read in (odometry_speed, battery_share, string_data, diagnostic_values):
        with suppress(WireError):  # it may be a message by chance
            read(payload)


def test_the_robot_of_this_machine_is_found_and_several_must_be_named(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path_factory.mktemp("home")))
    with pytest.raises(DialtoneError, match="no robot runs here"):
        find_robot()
    RobotFile("ada", os.getpid(), "nats://127.0.0.1:4333").write()
    assert find_robot().url == "nats://127.0.0.1:4333"
    with pytest.raises(DialtoneError, match="runs on this machine, but ada"):
        find_robot("bob")
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    RobotFile("eve", gone.pid, "nats://127.0.0.1:4335").write()
    assert find_robot().robot == "ada"
    assert find_robot("eve").robot == "eve"
    RobotFile("bob", os.getpid(), "nats://127.0.0.1:4334").write()
    with pytest.raises(DialtoneError, match="ada, bob"):
        find_robot()
    assert find_robot("bob").url == "nats://127.0.0.1:4334"
    assert find_robot(nats_url="nats://far:4222").robot == "rover"
