"""The settings of the simulated vehicle."""

from __future__ import annotations

from dataclasses import dataclass

from dialtone_core.config import param
from dialtone_sim.links import parse_udp


@dataclass(frozen=True)
class VehicleParams:
    """A rover on loopback. Angles in the world are compass headings: 0 north, 90 east."""

    mavlink_url: str = param(
        "udpout:127.0.0.1:14550",
        "where MAVLink goes: udpout:HOST:PORT sends there, udpin:HOST:PORT listens and answers",
    )
    pose_urls: tuple[str, ...] = param(
        ("udp:127.0.0.1:14560",), "simulated cameras that get the pose, udp:HOST:PORT each"
    )
    setpoint_log: str = param(
        "", "udp:HOST:PORT gets a JSON datagram for each setpoint received; empty: off"
    )
    sysid: int = param(1, "MAVLink system id", minimum=1, maximum=255)
    mygcs_sysid: int = param(
        255, "system id whose heartbeat the GCS failsafe watches", minimum=1, maximum=255
    )
    tick_rate_hz: float = param(100.0, "physics steps", unit="Hz", minimum=20, maximum=500)
    pose_rate_hz: float = param(60.0, "poses to cameras", unit="Hz", minimum=1, maximum=240)
    attitude_rate_hz: float = param(
        50.0, "ATTITUDE and SCALED_IMU", unit="Hz", minimum=0.1, maximum=200
    )
    position_rate_hz: float = param(
        50.0, "LOCAL_POSITION_NED", unit="Hz", minimum=0.1, maximum=200
    )
    gps_rate_hz: float = param(
        5.0, "GPS_RAW_INT and GLOBAL_POSITION_INT", unit="Hz", minimum=0.1, maximum=50
    )
    status_rate_hz: float = param(2.0, "SYS_STATUS", unit="Hz", minimum=0.1, maximum=50)
    max_speed_mps: float = param(2.0, "top speed", unit="m/s", minimum=0.05, maximum=30)
    accel_mps2: float = param(1.5, "speeding up", unit="m/s²", minimum=0.05, maximum=50)
    decel_mps2: float = param(3.0, "slowing down", unit="m/s²", minimum=0.05, maximum=50)
    max_yaw_rate_rps: float = param(1.8, "fastest turn", unit="rad/s", minimum=0.05, maximum=20)
    yaw_accel_rps2: float = param(6.0, "turn build-up", unit="rad/s²", minimum=0.05, maximum=200)
    motor_lag_s: float = param(
        0.06, "time constant of the drive motors", unit="s", minimum=0, maximum=5
    )
    setpoint_timeout_s: float = param(
        3.0,
        "how long the last setpoint drives on after silence",
        unit="s",
        minimum=0.05,
        maximum=60,
    )
    ready_after_s: float = param(
        0.0,
        "seconds after boot until there is a position, and arming",
        unit="s",
        minimum=0,
        maximum=600,
    )
    home_lat_deg: float = param(47.3977, "home latitude", unit="°", minimum=-85, maximum=85)
    home_lon_deg: float = param(8.5456, "home longitude", unit="°", minimum=-180, maximum=180)
    home_alt_m: float = param(
        488.0, "home altitude above mean sea", unit="m", minimum=-500, maximum=9000
    )
    heading_deg: float = param(
        90.0,
        "heading at the start; 90 is east, so that odom's x grows when driving forward",
        unit="°",
        minimum=0,
        maximum=360,
    )
    battery_full_v: float = param(16.8, "voltage when full", unit="V", minimum=1, maximum=100)
    battery_empty_v: float = param(13.2, "voltage when empty", unit="V", minimum=1, maximum=100)
    battery_capacity_ah: float = param(
        5.0, "battery capacity", unit="Ah", minimum=0.001, maximum=1000
    )
    battery_start_percent: float = param(
        100.0, "charge at the start", unit="%", minimum=0, maximum=100
    )
    idle_current_a: float = param(0.6, "current at rest", unit="A", minimum=0, maximum=100)
    drive_current_a: float = param(
        8.0, "more current at top speed", unit="A", minimum=0, maximum=1000
    )

    def __post_init__(self) -> None:
        if parse_udp(self.mavlink_url, "mavlink_url").scheme not in ("udpout", "udpin"):
            raise ValueError(
                f"mavlink_url is {self.mavlink_url!r}, not udpout:HOST:PORT or udpin:HOST:PORT"
            )
        for url in self.pose_urls:
            parse_udp(url, "pose_urls")
        if self.setpoint_log:
            parse_udp(self.setpoint_log, "setpoint_log")
        if self.battery_empty_v >= self.battery_full_v:
            raise ValueError(
                f"battery_empty_v is {self.battery_empty_v:g} V, not below "
                f"battery_full_v ({self.battery_full_v:g} V)"
            )
