"""What an actuator promises, whatever it drives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dialtone_core.command import Twist
from dialtone_teleop.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class VehicleState:
    """What is known of the vehicle. ``reason`` says why it is not ``ready`` to be driven.

    ``at_rest`` is ``None`` where the vehicle's own speed is not known. ``roll`` and ``pitch`` are
    rad in ``odom``, ``battery`` is 0..1, ``x``/``y`` m in ``odom``; ``None`` is "not heard".
    """

    ready: bool
    reason: str = ""
    link: bool = False
    link_age_s: float | None = None
    armed: bool = False
    mode: str = ""
    speed_mps: float | None = None
    turn_rps: float | None = None
    roll: float | None = None
    pitch: float | None = None
    battery: float | None = None
    x: float | None = None
    y: float | None = None
    figures: Mapping[str, object] = field(default_factory=dict)


class Actuator(Protocol):
    """A vehicle that takes body velocities. Methods may be called from any thread.

    Making one opens nothing. ``open`` and ``close`` are idempotent; a fault of the line is
    reported in ``state`` and healed inside, never raised.
    """

    def open(
        self, on_telemetry: Callable[[Telemetry], None], log: Callable[[str, str], None]
    ) -> None:
        """Begin. ``on_telemetry`` and ``log(level, line)`` are called from a thread of it."""

    def send(self, twist: Twist) -> Twist | None:
        """Write one setpoint now; what really went out, or ``None`` where nothing could."""

    def state(self, now_ns: int) -> VehicleState:
        """What is known at ``now_ns`` (monotonic)."""

    def arm(self, wanted: bool) -> None:
        """Ask the vehicle to be ready for driving, or not; ``state`` tells when it is."""

    def close(self) -> None:
        """End; the caller has sent its zeros."""
