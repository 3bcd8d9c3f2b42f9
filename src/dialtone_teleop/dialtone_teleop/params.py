"""Parameters of the teleop node. Lengths m, angles rad, speeds m/s and rad/s."""

from __future__ import annotations

from dataclasses import dataclass

from dialtone_core.config import param
from dialtone_core.naming import check_robot_name
from dialtone_teleop.actuator_params import (
    NeckParams,
    RosTopicParams,
    SimActuatorParams,
    TwistSerialParams,
)
from dialtone_teleop.link_url import parse_link_url

TWIST = "geometry_msgs/msg/Twist"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"
POSE_STAMPED = "geometry_msgs/msg/PoseStamped"
INPUT_TYPES = (TWIST, TWIST_STAMPED, POSE_STAMPED)

#: Silence may last this long (s) before the robot must have been told to stop (docs/safety.md).
LONGEST_SILENCE_S = 0.3


@dataclass(frozen=True)
class SourceParams:
    """One command input, as twist_mux has it."""

    topic: str = param("", "topic of the input; the source's own name where empty")
    type: str = param(TWIST, "message type of the input", choices=INPUT_TYPES)
    priority: int = param(50, "the highest active source drives", minimum=0, maximum=255)
    timeout_s: float = param(
        0.25, "silence after which the source no longer drives", unit="s", minimum=0.02, maximum=2
    )
    rates: bool = param(
        False, "a TwistStamped's angular part is body rates, flown with cmd_thrust"
    )
    autonomy: bool = param(
        False, "a program's and not a person's: needs no lease, ranks below every person"
    )
    deadman: str = param(
        "", "std_msgs/Bool topic that must say true, within timeout_s, while the source drives"
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
class AttitudeParams:
    """Attitude and body rate commands (sources of type PoseStamped, or with ``rates``)."""

    thrust: float = param(
        0.0, "largest thrust, a share of the most; 0 refuses such commands", minimum=0, maximum=1
    )
    tilt_deg: float = param(
        20.0, "steepest attitude that may be asked for", unit="°", minimum=0, maximum=80
    )
    rates_rps: float = param(
        1.0, "fastest body rate about each axis", unit="rad/s", minimum=0, maximum=20
    )


@dataclass(frozen=True)
class LeaseParams:
    """One operator at a time. Without ``implicit`` only a holder of the lease can drive."""

    ttl_s: float = param(
        2.0, "a lease lives so long unless renewed", unit="s", minimum=0.2, maximum=30
    )
    roles: tuple[str, ...] = param(
        ("operator", "admin"), "lowest first; a higher one may force a takeover"
    )
    implicit: tuple[str, ...] = param(
        ("cmd_vel",),
        "sources whose commands without an operator drive while nobody holds the lease",
    )


@dataclass(frozen=True)
class EStopParams:
    """Anyone may fire; who may clear."""

    clear_role: str = param("operator", "this role and higher ones may clear the e-stop")
    ros_role: str = param(
        "admin", "role of a caller of the ROS service: whoever reaches this ROS graph"
    )


@dataclass(frozen=True)
class FenceParams:
    """Where the robot may be, in ``odom``. The way back in is always open."""

    shape: str = param("none", "form of the fence", choices=("none", "circle", "box"))
    x: float = param(0.0, "centre", unit="m")
    y: float = param(0.0, "centre", unit="m")
    radius_m: float = param(10.0, "of a circle", unit="m", minimum=0.1)
    half_x_m: float = param(10.0, "half the length of a box", unit="m", minimum=0.1)
    half_y_m: float = param(10.0, "half the width of a box", unit="m", minimum=0.1)
    ahead_s: float = param(
        0.8, "look so far ahead: silence, braking, lag", unit="s", minimum=0, maximum=10
    )


@dataclass(frozen=True)
class LinkParams:
    """What a slow way from the operator costs. The delay is that beyond the fastest lately."""

    slow_from_ms: float = param(
        150.0, "from this delay on the limits shrink; 0 = never", unit="ms", minimum=0
    )
    slow_to: float = param(0.2, "share of the limits left at max_delay_s", minimum=0.01, maximum=1)


@dataclass(frozen=True)
class SafetyParams:
    """Conditions of the vehicle. Each is off at 0; one that is on and not told refuses."""

    tilt_deg: float = param(
        0.0, "more than this off level stops; 0 = off", unit="°", minimum=0, maximum=89
    )
    battery_floor: float = param(
        0.0, "less charge than this share stops; 0 = off", minimum=0, maximum=0.9
    )
    fence: FenceParams = FenceParams()
    link: LinkParams = LinkParams()


@dataclass(frozen=True)
class MavlinkParams:
    """The autopilot."""

    url: str = param(
        "udpin:127.0.0.1:14550",
        "udpin:HOST:PORT, udpout:HOST:PORT, tcp:HOST:PORT or serial:DEVICE:BAUD; a baud rate auto "
        "is found by listening, * and ? in a device are wildcards",
    )
    system_id: int = param(1, "our MAVLink system id", minimum=1, maximum=255)
    component_id: int = param(
        191, "our component id (191: onboard computer)", minimum=1, maximum=255
    )
    target_system: int = param(
        0, "the vehicle's system id; 0 = the first autopilot heard", minimum=0, maximum=255
    )
    dialect: str = param(
        "auto",
        "whose rules the autopilot follows; auto: what its heartbeat says",
        choices=("auto", "rover", "copter", "px4"),
    )
    auto_arm: bool = param(
        False, "enter the guided mode and arm as soon as the vehicle is heard (simulation only)"
    )
    link_timeout_s: float = param(
        2.0, "heartbeat age after which the link is lost", unit="s", minimum=0.5, maximum=30
    )
    signing_key_file: str = param(
        "", "file with the key of MAVLink 2 signing, 64 hex digits, mode 600; empty: unsigned"
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
    actuator: str = param("mavlink", "what it drives: an entry point of dialtone.actuators")
    nats_url: str = param("", "server that carries the control services; empty is ROS only")
    nats_credentials: str = param("", "path of a NATS credentials file; empty is none")
    mavlink: MavlinkParams = MavlinkParams()
    neck: NeckParams = param(NeckParams(), "the actuator neck")
    twist_serial: TwistSerialParams = param(TwistSerialParams(), "the actuator twist_serial")
    ros_topic: RosTopicParams = param(RosTopicParams(), "the actuator ros_topic")
    sim_actuator: SimActuatorParams = param(SimActuatorParams(), "the actuator sim")
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
    attitude: AttitudeParams = AttitudeParams()
    stop: StopParams = StopParams()
    lease: LeaseParams = LeaseParams()
    estop: EStopParams = EStopParams()
    safety: SafetyParams = SafetyParams()

    def __post_init__(self) -> None:
        check_robot_name(self.robot)
        _check_roles(self)
        if not self.sources:
            raise ValueError("sources is empty: nothing could drive")
        for name, source in self.sources.items():
            if source.timeout_s > LONGEST_SILENCE_S:
                raise ValueError(
                    f"sources.{name}.timeout_s is {source.timeout_s:g}: "
                    f"a silent source must stop the robot within {LONGEST_SILENCE_S:g} s"
                )
        people = [each.priority for each in self.sources.values() if not each.autonomy]
        for name, source in self.sources.items():
            if source.autonomy and people and source.priority >= min(people):
                raise ValueError(
                    f"sources.{name}.priority is {source.priority}: "
                    f"autonomy ranks below every person, so under {min(people)}"
                )


def _check_roles(params: TeleopParams) -> None:
    roles = params.lease.roles
    if not roles or len(set(roles)) != len(roles):
        raise ValueError("lease.roles gives each role once, lowest first")
    for name in ("clear_role", "ros_role"):
        value = getattr(params.estop, name)
        if value not in roles:
            raise ValueError(f"estop.{name} is {value!r}, which lease.roles does not have")
