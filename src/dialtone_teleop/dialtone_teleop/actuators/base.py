"""What an actuator promises, whatever it drives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from dialtone_core.command import Attitude, Twist
from dialtone_teleop.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class VehicleState:
    """What is known of the vehicle. ``reason`` says why it is not ``ready`` to be driven.

    ``roll``, ``pitch`` and ``yaw`` are rad in ``odom``, ``battery`` is 0..1, ``x``/``y`` m in
    ``odom``; ``None`` is "not heard". ``hands_off``: somebody else took the vehicle, and not even
    a stop is sent to it but for an e-stop.
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
    yaw: float | None = None
    hands_off: bool = False
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

    def figures(self) -> dict[str, object]:
        """Counters of the line, for diagnostics."""

    def close(self) -> None:
        """End; the caller has sent its zeros."""


@runtime_checkable
class WithAttitude(Protocol):
    """An actuator that can also be flown by attitude or body rates and thrust."""

    def send_attitude(self, attitude: Attitude) -> bool:
        """Write it now; whether it went out."""


@runtime_checkable
class WithModes(Protocol):
    """An actuator whose vehicle has modes that an operator may choose from."""

    def modes(self) -> tuple[str, ...]:
        """Their names; none before the vehicle told what it is."""

    def set_mode(self, name: str) -> None:
        """Ask the vehicle for one of them; ``state`` tells when it is there."""


@runtime_checkable
class WithTopics(Protocol):
    """An actuator with ROS topics of its own. ``attach`` is called once, before ``open``."""

    def attach(self, node: Any, refusal: Callable[[str], str]) -> None:
        """Make the topics on an rclpy node.

        ``refusal(operator)`` says why that operator ("" = unnamed) may move nothing now, or "".
        It takes locks: ask it while holding none that ``send`` takes.
        """
