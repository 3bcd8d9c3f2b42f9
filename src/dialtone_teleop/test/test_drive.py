"""``dialtone drive`` as a process at a pseudo terminal, against a real nats-server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drive_rig import Driver, SimRobot
from nats_rig import NatsServer

Until = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path)
    yield made
    made.close()


@pytest.fixture
def robot(server: NatsServer) -> Iterator[SimRobot]:
    made = SimRobot(server.url)
    made.open()
    server.ask("dt.rover.srv.teleop.status", {})
    yield made
    made.close()


@pytest.fixture
def drive(server: NatsServer, until: Until) -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(*options: str, kitty: bool = False) -> Driver:
        driver = Driver(server.url, *options, kitty=kitty)
        drivers.append(driver)
        until("the picture is there", lambda: "standing" in driver.text(), 20.0)
        if kitty:
            until("releases are known", lambda: "on key release" in driver.text())
        return driver

    yield start
    for driver in drivers:
        driver.close()


def test_a_held_key_drives_and_its_release_stops_at_once(
    robot: SimRobot, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)
    until("shown", lambda: "DRIVING" in driver.text() and "yours" in driver.text())
    assert robot.holder().startswith("ada/")
    until("still driving after a while", lambda: len(robot.commands) > 25)
    assert robot.last_asked() == 0.5
    released_s = time.monotonic()
    driver.release("w")
    until("an explicit zero", lambda: robot.last_asked() == 0.0)
    assert time.monotonic() - released_s < 0.2
    assert robot.speed() == 0.0


def test_where_releases_are_not_reported_silence_of_the_keyboard_stops(
    robot: SimRobot, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive()
    driver.press("w")
    until("driving", lambda: robot.speed() > 0)
    pressed_s = time.monotonic()
    until("an explicit zero", lambda: robot.last_asked() == 0.0)
    assert time.monotonic() - pressed_s < 0.9
    assert robot.speed() == 0.0


@pytest.mark.parametrize("how", ["q", "ctrl-c", "ctrl-c by kitty", "SIGTERM", "SIGINT", "hang-up"])
def test_however_it_ends_the_last_word_is_zero_and_the_lease_is_free(
    robot: SimRobot, drive: Callable[..., Driver], until: Until, how: str
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)
    if how == "hang-up":
        driver.hang_up()
    elif how.startswith("SIG"):
        driver.process.send_signal(getattr(signal, how))
    else:
        typed = {"q": b"q", "ctrl-c": b"\x03", "ctrl-c by kitty": b"\x1b[99;5u"}
        driver.type(typed[how])
    until("ended", lambda: driver.process.poll() is not None)
    assert robot.last_asked() == 0.0
    assert robot.speed() == 0.0
    until("the lease is free", lambda: not robot.holder(), 1.0)
    if how != "hang-up":
        assert driver.process.returncode == 0
        assert driver.echoes_again()
        assert b"\x1b[<u" in driver.raw


def test_losing_the_focus_stops_and_the_key_must_be_pressed_anew(
    robot: SimRobot, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)
    driver.type(b"\x1b[O")
    until("an explicit zero", lambda: robot.last_asked() == 0.0)
    until("told", lambda: "another window" in driver.text())
    driver.type(b"\x1b[I\x1b[119;1:2u")
    until("told", lambda: "standing" in driver.text())
    assert robot.last_asked() == 0.0
    driver.release("w")
    driver.press("w")
    until("driving", lambda: robot.last_asked() == 0.5)


def test_space_latches_the_estop_and_a_held_key_moves_nothing_after_it_is_cleared(
    robot: SimRobot, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)
    driver.type(b" ")
    until("latched", lambda: robot.engine.status().estop_by)
    until("shown", lambda: "E-STOP by ada/" in driver.text())
    driver.type(b"c")
    until("asked", lambda: "Clear the e-stop?" in driver.text())
    driver.type(b"x")
    until("withdrawn", lambda: "Clear the e-stop?" not in driver.text())
    assert robot.engine.status().estop_by
    driver.type(b"cy")
    until("cleared", lambda: not robot.engine.status().estop_by)
    driver.type(b"\x1b[119;1:2u" * 5)
    until("shown", lambda: "standing" in driver.text())
    assert robot.speed() == 0.0
    driver.release("w")
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)


def test_a_takeover_stops_the_loser_and_names_who_did_it(
    robot: SimRobot, server: NatsServer, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)
    force = {"operator": "eve/77aa", "role": "admin"}
    assert server.ask("dt.rover.srv.teleop.lease.force", force)["ok"]
    until("told", lambda: "eve/77aa took the lease over" in driver.text())
    assert robot.last_asked() == 0.0
    driver.release("w")
    driver.press("w")
    until("told", lambda: "eve/77aa holds" in driver.text())
    assert robot.last_asked() == 0.0
    assert robot.holder() == "eve/77aa"


def test_a_robot_without_a_lease_is_driven_without_one(
    server: NatsServer, drive: Callable[..., Driver], until: Until
) -> None:
    robot = SimRobot(server.url, services=False)
    robot.open()
    driver = drive(kitty=True)
    driver.press("w")
    driver.press("a")
    until("driving", lambda: robot.last_asked() == 0.5)
    until("turning left", lambda: robot.commands[-1][1].yaw == 1.0)
    until("told", lambda: "this robot has none" in driver.text())
    robot.close()


def test_keys_of_the_recorder_say_what_is_missing(
    robot: SimRobot, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive()
    until("the screen", lambda: "vehicle" in driver.text())
    driver.press("p")
    until("pause is refused", lambda: "nothing is being recorded" in driver.text())
    driver.press("r")
    until("so is the start", lambda: "this robot has no recorder" in driver.text())


def test_a_server_that_dies_is_shown_and_no_old_command_is_delivered_after_it_is_back(
    robot: SimRobot, server: NatsServer, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: robot.speed() == 0.5)
    server.kill()
    until("stopped by itself", lambda: robot.speed() == 0.0)
    until("told", lambda: "NO LINK" in driver.text())
    driver.release("w")
    until("let go", lambda: "asked +0.00" in driver.text())
    before = len(robot.commands)
    server.start()
    until("linked", lambda: "NO LINK" not in driver.text(), 15.0)
    assert all(twist.is_zero() for _, twist in robot.commands[before:])
    assert robot.speed() == 0.0


def test_a_terminal_that_stops_answering_while_a_key_is_held_stops_the_robot(
    robot: SimRobot, drive: Callable[..., Driver], until: Until
) -> None:
    driver = drive(kitty=True)
    driver.press("w")
    until("driving", lambda: len(robot.commands) > 20)
    driver.answers_pings = False
    deaf_s = time.monotonic()
    until("an explicit zero", lambda: robot.last_asked() == 0.0)
    assert time.monotonic() - deaf_s < 1.2


def test_an_unreachable_server_is_one_line(server: NatsServer) -> None:
    driver = Driver("nats://127.0.0.1:1")
    driver.process.wait(20)
    driver.close()
    assert driver.process.returncode != 0
    assert b"cannot reach the NATS server" in driver.raw
