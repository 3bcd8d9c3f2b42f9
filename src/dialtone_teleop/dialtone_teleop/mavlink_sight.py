"""What a vehicle said of itself lately: attitude, place, speed, charge; and whether it rebooted.

Handlers run in the line's thread; ``state`` may be asked from any, and sees values that are
replaced whole. Times are monotonic ns, stamps Unix ns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dialtone_teleop import telemetry
from dialtone_teleop.telemetry import Battery, Imu, Odometry, Telemetry

#: Older than this (ns) nothing counts as known: speed, tilt, charge.
_FRESH_NS = 1_000_000_000
_BATTERY_FRESH_NS = 10_000_000_000
#: A boot clock this much (ms) behind the last one is a reboot, less is a late datagram.
_REBOOT_MS = 1000


class Sight:
    """``publish`` gets each value as telemetry; ``on_reboot``: its clock began anew."""

    def __init__(
        self, publish: Callable[[Telemetry], None], on_reboot: Callable[[], None]
    ) -> None:
        self._publish = publish
        self._on_reboot = on_reboot
        self._attitude: Imu | None = None
        self._odometry: Odometry | None = None
        self._battery: Battery | None = None
        self._acceleration: telemetry.Vector | None = None
        self._heard: dict[str, int] = {}
        self._boot_ms = 0
        #: By message name: (message, now_ns, wall_ns).
        self.handlers: dict[str, Callable[[Any, int, int], None]] = {
            "ATTITUDE": self._on_attitude,
            "LOCAL_POSITION_NED": self._on_local_position,
            "SCALED_IMU": self._on_scaled_imu,
            "GPS_RAW_INT": lambda m, _, wall_ns: self._publish(telemetry.fix(m, wall_ns)),
            "SYS_STATUS": self._on_sys_status,
        }

    def state(self, now_ns: int) -> dict[str, Any]:
        """The fields of ``VehicleState`` that are known; ``None`` for what was not heard."""
        odometry: Odometry | None = self._known("odometry", self._odometry, now_ns)
        attitude: Imu | None = self._known("attitude", self._attitude, now_ns)
        battery = self._known("battery", self._battery, now_ns, _BATTERY_FRESH_NS)
        roll, pitch, yaw = (
            telemetry.angles(attitude.orientation) if attitude else (None, None, None)
        )
        return {
            "speed_mps": _length(odometry.velocity) if odometry else None,
            "turn_rps": attitude.rates[2] if attitude else None,
            "roll": roll,
            "pitch": pitch,
            "yaw": yaw,
            "battery": battery.remaining if battery else None,
            "x": odometry.position[0] if odometry else None,
            "y": odometry.position[1] if odometry else None,
        }

    def _known(self, name: str, value: Any, now_ns: int, fresh_ns: int = _FRESH_NS) -> Any:
        return value if now_ns - self._heard.get(name, -fresh_ns) < fresh_ns else None

    def _on_attitude(self, message: Any, now_ns: int, wall_ns: int) -> None:
        self._check_boot(message.time_boot_ms)
        accelerated = self._known("acceleration", self._acceleration, now_ns)
        self._attitude = telemetry.imu(message, accelerated, wall_ns)
        self._heard["attitude"] = now_ns
        self._publish(self._attitude)

    def _on_local_position(self, message: Any, now_ns: int, wall_ns: int) -> None:
        self._check_boot(message.time_boot_ms)
        attitude = self._known("attitude", self._attitude, now_ns)
        if attitude is None:
            return
        self._odometry = telemetry.odometry(message, attitude, wall_ns)
        self._heard["odometry"] = now_ns
        self._publish(self._odometry)

    def _on_scaled_imu(self, message: Any, now_ns: int, wall_ns: int) -> None:
        self._acceleration = telemetry.acceleration(message)
        self._heard["acceleration"] = now_ns

    def _on_sys_status(self, message: Any, now_ns: int, wall_ns: int) -> None:
        self._battery = telemetry.battery(message, wall_ns)
        self._heard["battery"] = now_ns
        self._publish(self._battery)

    def _check_boot(self, boot_ms: int) -> None:
        if boot_ms + _REBOOT_MS < self._boot_ms:
            self._on_reboot()
        self._boot_ms = boot_ms


def _length(v: telemetry.Vector) -> float:
    return float((v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) ** 0.5)
