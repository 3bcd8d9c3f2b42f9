"""Parameters of the teleop node. Lengths m, angles rad, speeds m/s and rad/s."""

from __future__ import annotations

from dataclasses import dataclass

from dialtone_core.config import param
from dialtone_core.naming import check_robot_name
from dialtone_teleop.link_url import parse_link_url

TWIST = "geometry_msgs/msg/Twist"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"

#: Silence may last this long (s) before the robot must have been told to stop (docs/safety.md).
LONGEST_SILENCE_S = 0.3


@dataclass(frozen=True)
class SourceParams:
    """One command input, as twist_mux has it."""

    topic: str = param("", "topic of the input; the source's own name where empty")
    type: str = param(TWIST, "message type of the input", choices=(TWIST, TWIST_STAMPED))
    priority: int = param(50, "the highest active source drives", minimum=0, maximum=255)
    timeout_s: float = param(
        0.25, "silence after which the source no longer drives", unit="s", minimum=0.02, maximum=2
    )


@dataclass(frozen=True)
class LockParams:
    """A std_msgs/Bool input that blocks sources of lower priority while true *or silent*."""

    topic: str = param("", "topic of the lock; its own name where empty")
    priority: int = param(255, "sources below this are blocked", minimum=0, maximum=255)
    timeout_s: float = param(
        1.0, "silence after which the lock counts as locked; 0 = never", unit="s", minimum=0
    )


@dataclass(frozen=True)
class LimitParams:
    """What may go to the vehicle, per axis of ``base_link``. A speed of 0 forbids the axis."""

    x_mps: float = param(1.0, "forward and backward speed", unit="m/s", minimum=0, maximum=50)
    y_mps: float = param(0.0, "sideways speed", unit="m/s", minimum=0, maximum=50)
    z_mps: float = param(0.0, "vertical speed", unit="m/s", minimum=0, maximum=50)
    yaw_rps: float = param(1.5, "turn rate", unit="rad/s", minimum=0, maximum=20)
    accel_mps2: float = param(
        4.0, "growth of a speed, each axis", unit="m/s²", minimum=0.01, maximum=1000
    )
    decel_mps2: float = param(
        8.0,
        "decay of a speed, each axis; an explicit stop is never slowed",
        unit="m/s²",
        minimum=0.01,
        maximum=1000,
    )
    yaw_accel_rps2: float = param(
        8.0, "growth of the turn rate", unit="rad/s²", minimum=0.01, maximum=1000
    )
    yaw_decel_rps2: float = param(
        16.0, "decay of the turn rate", unit="rad/s²", minimum=0.01, maximum=1000
    )


@dataclass(frozen=True)
class StopParams:
    """How the robot is stopped once nobody drives it."""

    zeros_s: float = param(
        1.0, "explicit zeros go out for so long, then silence", unit="s", minimum=0.1, maximum=60
    )
    zeros_hz: float = param(20.0, "rate of the explicit zeros", unit="Hz", minimum=2, maximum=200)
    rest_mps: float = param(0.05, "slower than this is at rest", unit="m/s", minimum=0.001)
    rest_rps: float = param(
        0.05, "turning slower than this is at rest", unit="rad/s", minimum=0.001
    )


@dataclass(frozen=True)
class MavlinkParams:
    """The autopilot."""

    url: str = param(
        "udpin:127.0.0.1:14550",
        "udpin:HOST:PORT, udpout:HOST:PORT, tcp:HOST:PORT or serial:DEVICE:BAUD",
    )
    system_id: int = param(1, "our MAVLink system id", minimum=1, maximum=255)
    component_id: int = param(
        191, "our component id (191: onboard computer)", minimum=1, maximum=255
    )
    target_system: int = param(
        0, "the vehicle's system id; 0 = the first autopilot heard", minimum=0, maximum=255
    )
    auto_arm: bool = param(
        False, "enter the guided mode and arm as soon as the vehicle is heard (simulation only)"
    )
    link_timeout_s: float = param(
        2.0, "heartbeat age after which the link is lost", unit="s", minimum=0.5, maximum=30
    )
    telemetry_hz: float = param(
        50.0, "requested rate of attitude and position", unit="Hz", minimum=1, maximum=200
    )

    def __post_init__(self) -> None:
        parse_link_url(self.url)


def _default_sources() -> dict[str, SourceParams]:
    return {
        "cmd_vel": SourceParams("cmd_vel", TWIST, 50),
        "nats": SourceParams("cmd_vel/nats", TWIST_STAMPED, 60),
    }


@dataclass(frozen=True)
class TeleopParams:
    """The teleop node. A ``sources`` or ``locks`` table in a file replaces the default one."""

    robot: str = param("rover", "name of the robot; its e-stop latch is kept under it")
    mavlink: MavlinkParams = MavlinkParams()
    sources: dict[str, SourceParams] = param(_default_sources(), "command inputs by name")
    locks: dict[str, LockParams] = param({}, "locks by name")
    max_delay_s: float = param(
        0.5,
        "a command that took this much longer than the fastest lately is refused as stale",
        unit="s",
        minimum=0.02,
        maximum=10,
    )
    limits: LimitParams = LimitParams()
    stop: StopParams = StopParams()

    def __post_init__(self) -> None:
        check_robot_name(self.robot)
        if not self.sources:
            raise ValueError("sources is empty: nothing could drive")
        for name, source in self.sources.items():
            if source.timeout_s > LONGEST_SILENCE_S:
                raise ValueError(
                    f"sources.{name}.timeout_s is {source.timeout_s:g}: "
                    f"a silent source must stop the robot within {LONGEST_SILENCE_S:g} s"
                )
