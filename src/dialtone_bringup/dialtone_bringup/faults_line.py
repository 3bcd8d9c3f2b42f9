"""Faults of the serial line and of the vehicle, on a ``linerig`` robot. See ``faults``.

Each drives first where that is possible, hurts, drives again at the end, and
returns the setpoints that reached the rover although nobody was allowed to move it. Blocking.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_bringup.linerig import Cable, Driver, LineRobot, line_robot
from dialtone_bringup.observer import AHEAD, IN_FLIGHT_S, SPEED_MPS, Observer, Seen
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError
from dialtone_teleop.mavlink_signing import sign

_KEY, _OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
_HOLD = 4
_PILOT = 255


@dataclass
class LineScene:
    """One robot on a cable, who watches it, and the person who drives it."""

    robot: LineRobot
    cable: Cable
    observer: Observer
    driver: Driver
    estop: bool

    def allow(self) -> None:
        self.observer.oracle.allow(AHEAD)

    def forbid(self) -> None:
        """From now on nothing may move, but for what is still in the cable."""
        self.observer.oracle.forbid(grace_s=IN_FLIGHT_S)

    def until(self, what: str, holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Return once ``holds()``; raises ``DialtoneError`` naming ``what`` when it is late."""
        end_s, pause = time.monotonic() + timeout_s, threading.Event()
        while not holds():
            if time.monotonic() > end_s:
                why = self.robot.reason() or "ready"
                raise DialtoneError(f"not within {timeout_s:g} s: {what} (vehicle: {why})")
            pause.wait(0.02)

    def drives(self) -> None:
        """Ada lets go, presses, and the robot goes."""
        self.until("the vehicle is ready", self.robot.ready)
        self.allow()
        since_ns = time.monotonic_ns()
        self.driver.speed_mps = 0.0
        self.wait(0.15)
        self.driver.speed_mps = SPEED_MPS
        self.until("the robot moves", lambda: self.observer.moving(AHEAD, since_ns))

    def wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def middle(self) -> None:
        """Fire the e-stop, if this run is one with it."""
        if self.estop:
            self.robot.engine.estop(True, "bystander")
            self.forbid()

    def recovers(self) -> None:
        """Everything healed: the e-stop is cleared, ada drives as before and lets go."""
        self.driver.speed_mps = None
        self.robot.engine.estop(False, "ada/1")
        self.drives()
        self.driver.speed_mps = None
        self.forbid()
        self.until("the robot stands", self.observer.standing)


@contextmanager
def _scene(estop: bool, *options: str, **settings: Any) -> Iterator[LineScene]:
    with line_robot(*options, **settings) as parts:
        yield LineScene(*parts, estop)


LineFault = Callable[[bool], list[Seen]]


def serial_unplugged_mid_write(estop: bool) -> list[Seen]:
    """The cable goes in the middle of a setpoint, and comes back with the key still held."""
    with _scene(estop) as scene:
        scene.drives()
        scene.cable.cut_in_the_next_frame()
        scene.until("the cable is cut", lambda: not scene.cable.plugged)
        scene.until("the robot notices", lambda: scene.robot.reason() == "line_down")
        scene.forbid()
        scene.middle()
        scene.wait(0.5)
        scene.driver.speed_mps = None
        scene.wait(0.3)
        scene.cable.plug()
        scene.until("the line is back", lambda: scene.robot.reason() != "line_down")
        scene.wait(0.5)  # nothing that the old cable still held may come now
        scene.recovers()
        return scene.observer.unsafe()


def noise_on_the_serial_line(estop: bool) -> list[Seen]:
    """Garbage and half frames in both directions, between what really is said."""
    with _scene(estop) as scene:
        scene.drives()
        dice, codec = random.Random(1), mavlink.MAVLink(None, 77, 1)
        frame = mavlink.MAVLink_heartbeat_message(10, 3, 129, 15, 4, 3).pack(codec)
        for _ in range(100):
            scene.cable.disturb(dice.randbytes(dice.randrange(1, 60)))
            scene.cable.disturb(frame[: dice.randrange(1, len(frame))])
            scene.wait(0.005)
        scene.middle()
        scene.recovers()
        return scene.observer.unsafe()


def pilot_changes_mode(estop: bool) -> list[Seen]:
    """A pilot takes the rover to HOLD while ada holds the key: it is not fought."""
    with _scene(estop) as scene:
        scene.drives()
        codec = mavlink.MAVLink(None, _PILOT, 1)
        custom = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        values = (mavlink.MAV_CMD_DO_SET_MODE, 0, custom, _HOLD, 0, 0, 0, 0, 0)
        scene.cable.to_rover(mavlink.MAVLink_command_long_message(1, 1, *values).pack(codec))
        scene.until("it is noticed", lambda: scene.robot.reason() == "mode_changed")
        scene.forbid()
        scene.wait(0.5)
        scene.middle()
        scene.wait(0.5)
        mode = scene.robot.actuator.state(scene.robot.clock.monotonic_ns()).mode
        if mode != "HOLD":
            raise DialtoneError(f"the pilot chose HOLD, and it is in {mode}")
        scene.driver.speed_mps = None
        scene.robot.engine.arm(True)
        scene.recovers()
        return scene.observer.unsafe()


def ekf_not_ready(estop: bool) -> list[Seen]:
    """The rover has no position for a while after its start, and ada holds the key."""
    with _scene(estop, "--ready-after-s", "2.5") as scene:
        scene.driver.speed_mps = SPEED_MPS
        scene.until("the rover is heard", lambda: scene.robot.reason() == "arming")
        scene.wait(0.5)
        scene.middle()
        scene.recovers()
        return scene.observer.unsafe()


def wrong_signing_key(estop: bool) -> list[Seen]:
    """Somebody signs with another key: no vehicle is there, until the right one speaks."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "mavlink.key")
        file.touch(mode=0o600)
        file.write_text(_KEY.hex() + "\n")
        with _scene(estop, signing_key_file=str(file)) as scene:
            scene.cable.signer = _signer(_OTHER_KEY)
            scene.driver.speed_mps = SPEED_MPS
            refused = scene.robot.actuator.figures
            scene.until("it is refused", lambda: int(str(refused()["signature_refused"])) > 20)
            scene.middle()
            if scene.robot.reason() not in ("no_vehicle", "line_down"):
                raise DialtoneError("a vehicle that signs with a wrong key was taken for ours")
            scene.cable.signer = _signer(_KEY)
            scene.recovers()
            return scene.observer.unsafe()


def _signer(key: bytes) -> Any:
    codec = mavlink.MAVLink(None, 1, 1)
    sign(codec, key)
    return codec


def robots_clock_stepped(estop: bool) -> list[Seen]:
    """The robot's own wall clock jumps an hour ahead and back while ada drives."""
    with _scene(estop) as scene:
        scene.drives()
        for hours in (1, -1):
            scene.robot.clock.step_ns = hours * 3600 * NS_PER_S
            scene.wait(0.3)
        since_ns = time.monotonic_ns()
        scene.until("it drives on", lambda: scene.observer.moving(AHEAD, since_ns))
        scene.middle()
        scene.recovers()
        return scene.observer.unsafe()


LINE_FAULTS: tuple[LineFault, ...] = (
    serial_unplugged_mid_write,
    noise_on_the_serial_line,
    pilot_changes_mode,
    ekf_not_ready,
    wrong_signing_key,
    robots_clock_stepped,
)


def run_line_fault(fault: LineFault, estop: bool) -> list[Seen]:
    """Do one fault; raises ``DialtoneError`` that names it where it did not end as it should."""
    try:
        return fault(estop)
    except DialtoneError as error:
        name = f"{fault.__name__}{' with e-stop' if estop else ''}"
        raise DialtoneError(f"fault {name}: {error}") from error
