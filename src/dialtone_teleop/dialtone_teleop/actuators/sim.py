"""A vehicle inside this process that does at once what it is told; for tests and dry runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from dialtone_core.clock import Clock
from dialtone_core.command import STOP, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.params import TeleopParams
from dialtone_teleop.telemetry import Telemetry

#: So many setpoints are remembered, oldest dropped.
_REMEMBERED = 10_000


class SimActuator:
    """See the module and ``base.Actuator``. ``setpoints`` holds (monotonic ns, twist)."""

    def __init__(self, needs_arming: bool, clock: Clock) -> None:
        self.setpoints: deque[tuple[int, Twist]] = deque(maxlen=_REMEMBERED)
        self._clock = clock
        self._needs_arming = needs_arming
        self._armed = not needs_arming
        self._open = False
        self._twist = STOP
        self._sent = 0
        self._lock = threading.Lock()

    def open(
        self, on_telemetry: Callable[[Telemetry], None], log: Callable[[str, str], None]
    ) -> None:
        self._open = True

    def send(self, twist: Twist) -> Twist | None:
        with self._lock:
            if not self._open or not (self._armed or twist.is_zero()):
                return None
            self._twist = twist
            self._sent += 1
            self.setpoints.append((self._clock.monotonic_ns(), twist))
            return twist

    def state(self, now_ns: int) -> VehicleState:
        twist = self._twist
        reason = "" if self._armed else "not_armed"
        reason = reason if self._open else "line_down"
        return VehicleState(
            ready=not reason,
            reason=reason,
            link=self._open,
            link_age_s=0.0 if self._open else None,
            armed=self._armed,
            mode="SIM",
            speed_mps=(twist.x**2 + twist.y**2 + twist.z**2) ** 0.5,
            turn_rps=twist.yaw,
        )

    def arm(self, wanted: bool) -> None:
        self._armed = wanted or not self._needs_arming

    def figures(self) -> dict[str, object]:
        return {"setpoints": self._sent}

    def close(self) -> None:
        self._open = False


def create(params: TeleopParams, clock: Clock) -> SimActuator:
    return SimActuator(params.sim_actuator.needs_arming, clock)
