"""A microcontroller that drives motors and takes twists over a serial line.

It must stop by itself after ``ttl_ms`` without a valid twist: when this process, the machine or
the cable dies, nobody else can. docs/twist_serial.md has the contract and a reference sketch.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable

from dialtone_core.clock import Clock
from dialtone_core.command import Twist
from dialtone_core.errors import WireError
from dialtone_teleop.actuator_params import TwistSerialParams
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import TeleopParams
from dialtone_teleop.serial_line import SerialLine
from dialtone_teleop.telemetry import Battery, Telemetry
from dialtone_teleop.twist_protocol import (
    SEQ_MODULUS,
    Splitter,
    Status,
    decode_status,
    encode_twist,
)

#: A status that is older (ns) says nothing about now.
_FRESH_NS = 1_000_000_000


class TwistSerialActuator:
    """See the module and ``base.Actuator``."""

    def __init__(self, params: TwistSerialParams, clock: Clock) -> None:
        self._params = params
        self._clock = clock
        self._lock = threading.Lock()
        self._splitter = Splitter.of(params.encoding)
        self._seq = 0
        self._status: Status | None = None
        self._heard_ns = 0
        self._bad: Counter[str] = Counter()
        self._on_telemetry: Callable[[Telemetry], None] = lambda _: None
        self._line = SerialLine(
            "twist_serial",
            params.ports,
            params.baud,
            on_up=self._on_up,
            on_bytes=self._on_bytes,
        )

    def open(
        self, on_telemetry: Callable[[Telemetry], None], log: Callable[[str, str], None]
    ) -> None:
        self._on_telemetry = on_telemetry
        self._line.open(log)

    def send(self, twist: Twist) -> Twist | None:
        """Zeros go out on an open line even where the device has not been heard."""
        with self._lock:
            if not twist.is_zero() and self._reason(self._clock.monotonic_ns()):
                return None
            self._seq = (self._seq + 1) % SEQ_MODULUS
            sent = Twist(twist.x, twist.y, twist.z, 0.0, 0.0, twist.yaw)
            encoding, ttl_ms = self._params.encoding, self._params.ttl_ms
            return (
                sent if self._line.write(encode_twist(encoding, sent, self._seq, ttl_ms)) else None
            )

    def state(self, now_ns: int) -> VehicleState:
        with self._lock:
            status = self._fresh(now_ns)
            reason = self._reason(now_ns)
            return VehicleState(
                ready=not reason,
                reason=reason,
                link=status is not None,
                link_age_s=(now_ns - self._heard_ns) / 1e9 if self._status else None,
                armed=not reason,
                mode="SERIAL",
                speed_mps=_known(abs(status.x)) if status else None,
                turn_rps=_known(status.yaw) if status else None,
                battery=_known(status.battery) if status else None,
            )

    def arm(self, wanted: bool) -> None:
        """The device is driven by whoever has the line."""

    def figures(self) -> dict[str, object]:
        counts = {f"bad.{reason}": count for reason, count in self._bad.items()}
        return {"port": self._line.port, "opened": self._line.opened, "seq": self._seq, **counts}

    def close(self) -> None:
        self._line.close()

    def _reason(self, now_ns: int) -> str:
        if not self._line.up:
            return "line_down"
        status = self._fresh(now_ns)
        if status is None:
            return "link_lost" if self._params.require_status else ""
        return "device_fault" if status.fault else ""

    def _fresh(self, now_ns: int) -> Status | None:
        return self._status if now_ns - self._heard_ns < _FRESH_NS else None

    def _on_up(self) -> None:
        """A new device, or the old one after a reset: what was heard before counts no more.

        The end of a frame goes first, so that half a frame of before does not eat the next one.
        """
        with self._lock:
            self._status = None
            self._splitter = Splitter.of(self._params.encoding)
        self._line.write(b"\0" if self._params.encoding == "crc" else b"\n")

    def _on_bytes(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            try:
                status = decode_status(self._params.encoding, frame)
            except WireError as error:
                self._bad[error.reason] += 1
                continue
            with self._lock:
                self._status, self._heard_ns = status, self._clock.monotonic_ns()
            if math.isfinite(status.battery):
                wall_ns = self._clock.wall_ns()
                self._on_telemetry(Battery(wall_ns, math.nan, math.nan, status.battery))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def create(params: TeleopParams, clock: Clock) -> TwistSerialActuator:
    return TwistSerialActuator(params.twist_serial, clock)
