"""A vehicle's end of a MAVLink line, over a real UDP socket, that writes down every setpoint."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

MANUAL, HOLD, GUIDED = 0, 4, 15


def until(what: str, condition: Callable[[], Any], deadline_s: float = 10.0) -> Any:
    """Poll ``condition`` until it holds and return what it gave."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        pause.wait(0.005)
    return found


class MavlinkPeer:
    """A rover that obeys modes and arming at once. ``setpoints`` are (monotonic s, message)."""

    def __init__(self, port: int, heartbeat_s: float = 0.1) -> None:
        self.mode, self.armed = HOLD, False
        self.velocity_north = 0.0
        self.yaw = 0.0
        self.silent = False
        self.telemetry = True
        self.commands: list[Any] = []
        self.heartbeats: list[Any] = []
        self.setpoints: list[tuple[float, Any]] = []
        self._heartbeat_s = heartbeat_s
        self._boot = time.monotonic()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(0.01)
        self._codec = mavlink.MAVLink(None, 1, 1)
        self._codec.robust_parsing = True
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._running = False
        self._thread.join()
        self._socket.close()

    def reboot(self) -> None:
        """Forget everything, as a power cycle does."""
        self._boot = time.monotonic()
        self.mode, self.armed = MANUAL, False

    def send(self, message: Any) -> None:
        self.send_bytes(message.pack(self._codec))
        self._codec.seq = (self._codec.seq + 1) % 256

    def send_bytes(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except ConnectionRefusedError:
            return

    def moving(self) -> list[tuple[float, Any]]:
        """The setpoints that ask for motion."""
        return [(at, m) for at, m in self.setpoints if (m.vx, m.vy, m.vz, m.yaw_rate) != (0,) * 4]

    def _run(self) -> None:
        heartbeat, fast = 0.0, 0.0
        while self._running:
            now = time.monotonic()
            if not self.silent and now >= heartbeat:
                heartbeat = now + self._heartbeat_s
                self._say_heartbeat()
            if not self.silent and self.telemetry and now >= fast:
                fast = now + 0.02
                self._say_telemetry(round((now - self._boot) * 1000))
            try:
                data = self._socket.recv(4096)
            except (TimeoutError, ConnectionRefusedError):
                continue
            for message in self._codec.parse_buffer(data) or ():
                self._take(message)

    def _say_heartbeat(self) -> None:
        base = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        base |= mavlink.MAV_MODE_FLAG_SAFETY_ARMED if self.armed else 0
        kind = mavlink.MAV_TYPE_GROUND_ROVER
        ardupilot = mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA
        self.send(mavlink.MAVLink_heartbeat_message(kind, ardupilot, base, self.mode, 4, 3))

    def _say_telemetry(self, boot_ms: int) -> None:
        self.send(mavlink.MAVLink_attitude_message(boot_ms, 0.0, 0.0, self.yaw, 0.0, 0.0, 0.0))
        position = (1.0, 2.0, -3.0, self.velocity_north, 0.0, 0.0)
        self.send(mavlink.MAVLink_local_position_ned_message(boot_ms, *position))

    def _take(self, message: Any) -> None:
        name = message.get_type()
        if name == "SET_POSITION_TARGET_LOCAL_NED":
            self.setpoints.append((time.monotonic(), message))
        elif name == "HEARTBEAT":
            self.heartbeats.append(message)
        elif name == "COMMAND_LONG":
            self.commands.append(message)
            if message.command == mavlink.MAV_CMD_DO_SET_MODE:
                self.mode = int(message.param2)
            elif message.command == mavlink.MAV_CMD_COMPONENT_ARM_DISARM:
                self.armed = bool(message.param1)
            if not self.silent:
                self.send(mavlink.MAVLink_command_ack_message(message.command, 0))
