"""What the vehicle says of itself: builds each message from its state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_sim.dynamics import State
from dialtone_sim.params import VehicleParams

_GRAVITY_MPS2 = 9.80665
_EARTH_RADIUS_M = 6_378_137.0
_SENSORS = (
    mavlink.MAV_SYS_STATUS_SENSOR_3D_GYRO
    | mavlink.MAV_SYS_STATUS_SENSOR_3D_ACCEL
    | mavlink.MAV_SYS_STATUS_SENSOR_GPS
    | mavlink.MAV_SYS_STATUS_SENSOR_BATTERY
)


@dataclass(slots=True)
class Battery:
    """Charge by counting current; the voltage falls with charge and sags under load."""

    params: VehicleParams
    used_ah: float = 0.0
    current_a: float = 0.0

    def __post_init__(self) -> None:
        empty = 1 - self.params.battery_start_percent / 100
        self.used_ah = empty * self.params.battery_capacity_ah

    def drain(self, speed: float, dt: float) -> None:
        """Use the current that ``speed`` (m/s) costs for ``dt`` seconds."""
        load = abs(speed) / self.params.max_speed_mps
        self.current_a = self.params.idle_current_a + load * self.params.drive_current_a
        self.used_ah += self.current_a * dt / 3600

    @property
    def remaining(self) -> float:
        """0..1."""
        return max(0.0, 1 - self.used_ah / self.params.battery_capacity_ah)

    @property
    def voltage_v(self) -> float:
        span = self.params.battery_full_v - self.params.battery_empty_v
        sag = 0.02 * self.current_a
        return max(0.0, self.params.battery_empty_v + span * self.remaining - sag)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vehicle at one instant, all that telemetry needs. ``boot_ms`` since its boot."""

    params: VehicleParams
    state: State
    battery: Battery
    boot_ms: int
    wall_us: int
    armed: bool
    mode: int
    ready: bool

    def velocity(self) -> tuple[float, float]:
        """(north, east) m/s."""
        speed, yaw = self.state.speed, self.state.yaw
        return speed * math.cos(yaw), speed * math.sin(yaw)

    def latitude_longitude(self) -> tuple[int, int]:
        """Degrees × 10⁷ on a sphere, flat around home: centimetres off within a kilometre."""
        lat = self.params.home_lat_deg + math.degrees(self.state.north / _EARTH_RADIUS_M)
        scale = _EARTH_RADIUS_M * math.cos(math.radians(self.params.home_lat_deg))
        lon = self.params.home_lon_deg + math.degrees(self.state.east / scale)
        return round(lat * 1e7), round(lon * 1e7)


def heartbeat(now: Snapshot) -> Any:
    base = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
    base |= mavlink.MAV_MODE_FLAG_SAFETY_ARMED if now.armed else 0
    base |= mavlink.MAV_MODE_FLAG_GUIDED_ENABLED if now.mode == 15 else 0
    base |= mavlink.MAV_MODE_FLAG_MANUAL_INPUT_ENABLED if now.mode == 0 else 0
    status = mavlink.MAV_STATE_ACTIVE if now.armed else mavlink.MAV_STATE_STANDBY
    return mavlink.MAVLink_heartbeat_message(
        mavlink.MAV_TYPE_GROUND_ROVER,
        mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA,
        base,
        now.mode,
        status,
        3,
    )


def attitude(now: Snapshot) -> Any:
    state = now.state
    return mavlink.MAVLink_attitude_message(
        now.boot_ms, 0.0, 0.0, state.yaw, 0.0, 0.0, state.yaw_rate
    )


def attitude_quaternion(now: Snapshot) -> Any:
    half = now.state.yaw / 2
    return mavlink.MAVLink_attitude_quaternion_message(
        now.boot_ms, math.cos(half), 0.0, 0.0, math.sin(half), 0.0, 0.0, now.state.yaw_rate
    )


def scaled_imu(now: Snapshot) -> Any:
    """Accelerations in mg (forward, right, down; gravity reads −1000 down), rates in mrad/s."""
    state = now.state
    to_mg = 1000 / _GRAVITY_MPS2
    lateral = state.speed * state.yaw_rate
    return mavlink.MAVLink_scaled_imu_message(
        now.boot_ms,
        _int16(state.accel * to_mg),
        _int16(lateral * to_mg),
        -1000,
        0,
        0,
        _int16(state.yaw_rate * 1000),
        0,
        0,
        0,
        2500,
    )


def local_position(now: Snapshot) -> Any:
    north, east = now.velocity()
    return mavlink.MAVLink_local_position_ned_message(
        now.boot_ms, now.state.north, now.state.east, 0.0, north, east, 0.0
    )


def global_position(now: Snapshot) -> Any:
    lat, lon = now.latitude_longitude()
    north, east = now.velocity()
    return mavlink.MAVLink_global_position_int_message(
        now.boot_ms,
        lat,
        lon,
        round(now.params.home_alt_m * 1000),
        0,
        _int16(north * 100),
        _int16(east * 100),
        0,
        _centidegrees(now.state.yaw),
    )


def gps_raw(now: Snapshot) -> Any:
    lat, lon = now.latitude_longitude()
    fix = mavlink.GPS_FIX_TYPE_3D_FIX if now.ready else mavlink.GPS_FIX_TYPE_NO_FIX
    course = now.state.yaw if now.state.speed >= 0 else now.state.yaw + math.pi
    return mavlink.MAVLink_gps_raw_int_message(
        now.wall_us,
        fix,
        lat if now.ready else 0,
        lon if now.ready else 0,
        round(now.params.home_alt_m * 1000),
        80,
        120,
        round(abs(now.state.speed) * 100),
        _centidegrees(course),
        14 if now.ready else 3,
    )


def sys_status(now: Snapshot) -> Any:
    battery = now.battery
    return mavlink.MAVLink_sys_status_message(
        _SENSORS,
        _SENSORS,
        _SENSORS,
        100,
        min(round(battery.voltage_v * 1000), 65_534),
        min(round(battery.current_a * 100), 32_767),
        round(battery.remaining * 100),
        *([0] * 6),
    )


def battery_status(now: Snapshot) -> Any:
    battery = now.battery
    unused = 65_535
    return mavlink.MAVLink_battery_status_message(
        0,
        mavlink.MAV_BATTERY_FUNCTION_ALL,
        mavlink.MAV_BATTERY_TYPE_LIPO,
        32_767,
        [min(round(battery.voltage_v * 1000), unused - 1)] + [unused] * 9,
        min(round(battery.current_a * 100), 32_767),
        round(battery.used_ah * 1000),
        -1,
        round(battery.remaining * 100),
    )


def system_time(now: Snapshot) -> Any:
    return mavlink.MAVLink_system_time_message(now.wall_us, now.boot_ms)


def autopilot_version(now: Snapshot) -> Any:
    capabilities = (
        mavlink.MAV_PROTOCOL_CAPABILITY_MAVLINK2
        | mavlink.MAV_PROTOCOL_CAPABILITY_PARAM_FLOAT
        | mavlink.MAV_PROTOCOL_CAPABILITY_SET_POSITION_TARGET_LOCAL_NED
        | mavlink.MAV_PROTOCOL_CAPABILITY_SET_ATTITUDE_TARGET
    )
    version = 4 << 24 | 6 << 16 | 255  # 4.6.0, official release: what its behaviour follows
    none = [0] * 8
    return mavlink.MAVLink_autopilot_version_message(
        capabilities, version, 0, 0, 0, none, none, none, 0, 0, now.params.sysid
    )


def gps_global_origin(now: Snapshot) -> Any:
    return mavlink.MAVLink_gps_global_origin_message(
        round(now.params.home_lat_deg * 1e7),
        round(now.params.home_lon_deg * 1e7),
        round(now.params.home_alt_m * 1000),
        now.wall_us,
    )


#: Message id → builder: all that SET_MESSAGE_INTERVAL and REQUEST_MESSAGE know.
BUILDERS = {
    mavlink.MAVLINK_MSG_ID_HEARTBEAT: heartbeat,
    mavlink.MAVLINK_MSG_ID_SYS_STATUS: sys_status,
    mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: system_time,
    mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: gps_raw,
    mavlink.MAVLINK_MSG_ID_SCALED_IMU: scaled_imu,
    mavlink.MAVLINK_MSG_ID_ATTITUDE: attitude,
    mavlink.MAVLINK_MSG_ID_ATTITUDE_QUATERNION: attitude_quaternion,
    mavlink.MAVLINK_MSG_ID_LOCAL_POSITION_NED: local_position,
    mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: global_position,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN: gps_global_origin,
    mavlink.MAVLINK_MSG_ID_BATTERY_STATUS: battery_status,
    mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION: autopilot_version,
}

#: What a vehicle without a position does not send.
NEEDS_POSITION = (
    mavlink.MAVLINK_MSG_ID_LOCAL_POSITION_NED,
    mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT,
    mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN,
)


def default_rates_hz(params: VehicleParams) -> dict[int, float]:
    """Message id → rate after boot."""
    return {
        mavlink.MAVLINK_MSG_ID_HEARTBEAT: 1.0,
        mavlink.MAVLINK_MSG_ID_SYSTEM_TIME: 1.0,
        mavlink.MAVLINK_MSG_ID_SYS_STATUS: params.status_rate_hz,
        mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: params.gps_rate_hz,
        mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: params.gps_rate_hz,
        mavlink.MAVLINK_MSG_ID_ATTITUDE: params.attitude_rate_hz,
        mavlink.MAVLINK_MSG_ID_SCALED_IMU: params.attitude_rate_hz,
        mavlink.MAVLINK_MSG_ID_LOCAL_POSITION_NED: params.position_rate_hz,
    }


def _int16(value: float) -> int:
    return max(-32_768, min(32_767, round(value)))


def _centidegrees(yaw: float) -> int:
    return round(math.degrees(yaw) % 360 * 100) % 36_000
