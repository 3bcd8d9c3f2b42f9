"""A vehicle of somebody else's making: MAVSDK in the autopilot's role, over real UDP."""

from __future__ import annotations

import importlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from dialtone_core.clock import SystemClock
from dialtone_core.command import Command, Twist
from dialtone_core.ports import free_ports
from dialtone_teleop.actuators.mavlink import MavlinkActuator
from dialtone_teleop.engine import Engine
from dialtone_teleop.params import LeaseParams, MavlinkParams, TeleopParams
from dialtone_teleop.pipeline import Pipeline

mavsdk = pytest.importorskip("mavsdk", reason="mavsdk has no wheel for this machine")


class MavsdkVehicle:
    """Grants modes and arming by its own rules, and writes down what it is sent."""

    def __init__(self, port: int) -> None:
        action_server = importlib.import_module("mavsdk.plugins.action_server")
        mavlink_direct_server = importlib.import_module("mavsdk.plugins.mavlink_direct_server")

        kind = mavsdk.ComponentType.AUTOPILOT
        self._sdk = mavsdk.Mavsdk(mavsdk.Configuration.create_with_component_type(kind))
        assert self._sdk.add_any_connection(f"udpout://127.0.0.1:{port}") == 0
        server = self._sdk.server_component(0)
        self.armed: list[bool] = []
        self.modes: list[str] = []
        self.setpoints: list[tuple[float, dict[str, Any]]] = []
        self._action = action_server.ActionServer(server)
        self._action.set_armable(True, True)
        self._action.set_disarmable(True, True)
        allowed = action_server.AllowableFlightModes(True, True, True)
        self._action.set_allowable_flight_modes(allowed)
        self._action.subscribe_arm_disarm(lambda _, asked, *__: self.armed.append(asked.arm))
        self._action.subscribe_flight_mode_change(
            lambda _, mode, *__: self.modes.append(mode.name)
        )
        self._direct = mavlink_direct_server.MavlinkDirectServer(server)
        self._direct.subscribe_message("SET_POSITION_TARGET_LOCAL_NED", self._on_setpoint)

    def _on_setpoint(self, message: Any, *_: Any) -> None:
        self.setpoints.append((time.monotonic(), json.loads(message.fields_json)))

    def close(self) -> None:
        self._sdk.destroy()


@pytest.fixture
def vehicle_and_engine() -> Iterator[tuple[MavsdkVehicle, MavlinkActuator, Engine]]:
    port = free_ports(1, kind=socket.SOCK_DGRAM)[0]
    # Its heartbeat names no maker; its modes are PX4's.
    line = MavlinkParams(url=f"udpin:127.0.0.1:{port}", dialect="px4", auto_arm=True)
    params = TeleopParams(mavlink=line, lease=LeaseParams(implicit=("cmd_vel",)))
    clock = SystemClock()
    actuator = MavlinkActuator(line, clock)
    engine = Engine(Pipeline(params), actuator, clock, lambda _: None)
    actuator.open(lambda _: None, lambda *_: None)
    engine.start()
    with closing(actuator), closing(engine), closing(MavsdkVehicle(port)) as vehicle:
        yield vehicle, actuator, engine


def test_an_independent_vehicle_confirms_mode_arming_and_setpoints(
    until: Callable[..., object],
    vehicle_and_engine: tuple[MavsdkVehicle, MavlinkActuator, Engine],
) -> None:
    vehicle, actuator, engine = vehicle_and_engine
    until("armed and OFFBOARD", lambda: actuator.state(time.monotonic_ns()).ready, 15)
    assert vehicle.modes[-1] == "OFFBOARD"
    assert vehicle.armed[-1] is True
    pause, last = threading.Event(), 0.0
    for _ in range(10):
        last = time.monotonic()
        engine.command(Command("cmd_vel", Twist(0.4, yaw=0.5), time.monotonic_ns()))
        pause.wait(0.05)
    moving = [(at, each) for at, each in vehicle.setpoints if each["vx"]]
    assert moving[-1][1]["vx"] == pytest.approx(0.4, abs=1e-6)
    assert moving[-1][1]["yaw_rate"] == pytest.approx(-0.5, abs=1e-6)
    assert (moving[-1][1]["coordinate_frame"], moving[-1][1]["type_mask"]) == (8, 0x5E7)
    until("told to stop", lambda: vehicle.setpoints[-1][1]["vx"] == 0)
    stopped = next(at for at, each in vehicle.setpoints if at > last and not each["vx"])
    assert stopped - last < 0.3
