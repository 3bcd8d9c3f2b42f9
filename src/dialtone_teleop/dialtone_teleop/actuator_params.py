"""Parameters of the actuators that are no autopilot."""

from __future__ import annotations

from dataclasses import dataclass

from dialtone_core.config import param


@dataclass(frozen=True)
class TwistSerialParams:
    """A microcontroller that takes twists over a serial line (docs/twist_serial.md)."""

    ports: list[str] = param(
        ["/dev/ttyACM*", "/dev/ttyUSB*"], "candidate devices in order; * and ? are wildcards"
    )
    baud: int = param(115200, "baud rate", minimum=1200, maximum=4_000_000)
    encoding: str = param("json", "how a twist is written", choices=("json", "crc"))
    ttl_ms: int = param(
        300,
        "the microcontroller stops by itself after so long without a valid twist",
        unit="ms",
        minimum=50,
        maximum=1000,
    )
    require_status: bool = param(
        True, "drive only while the microcontroller reports its status (at least twice a second)"
    )


@dataclass(frozen=True)
class RosTopicParams:
    """A base that is on ROS already."""

    topic: str = param("cmd_vel_out", "where the safe commands go")
    stamped: bool = param(False, "publish TwistStamped instead of Twist")
    frame_id: str = param("base_link", "frame of the stamped form")


@dataclass(frozen=True)
class SimActuatorParams:
    """An in-process vehicle, for tests and dry runs."""

    needs_arming: bool = param(False, "drive only after teleop/arm")


@dataclass(frozen=True)
class NeckParams:
    """A Stewart-platform head on a serial line."""

    ports: list[str] = param(
        ["/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/tty0", "/dev/tty1"],
        "candidate devices in order; the one that says it is a neck is taken; * and ? are "
        "wildcards",
    )
    baud: int = param(115200, "baud rate", minimum=1200, maximum=4_000_000)
    home: str = param("soft", "how it is homed on connect", choices=("soft", "brute", "none"))
    home_timeout_s: float = param(
        10.0, "a HOME that took longer has failed", unit="s", minimum=1, maximum=120
    )
    probe_s: float = param(
        3.0,
        "how long a candidate may take to answer HEALTH; a board that resets when it is opened "
        "needs 2",
        unit="s",
        minimum=0.1,
        maximum=30,
    )
    actuator_min_mm: int = param(0, "moves of single actuators are clamped to this", unit="mm",
                                 minimum=0, maximum=500)  # fmt: skip
    actuator_max_mm: int = param(70, "moves of single actuators are clamped to this", unit="mm",
                                 minimum=0, maximum=500)  # fmt: skip
    max_tilt_rad: float = param(
        0.7, "attitudes and jogging are clamped to this angle from upright", unit="rad",
        minimum=0.01, maximum=1.57,
    )  # fmt: skip
    max_rate_hz: float = param(
        30.0, "newest attitude and joint targets pass, the rest is skipped", unit="Hz",
        minimum=1, maximum=200,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.actuator_min_mm >= self.actuator_max_mm:
            raise ValueError(
                f"neck.actuator_min_mm is {self.actuator_min_mm}: give less than "
                f"neck.actuator_max_mm ({self.actuator_max_mm})"
            )
