"""MAVLink telemetry → plain values in ROS's frames.

MAVLink speaks NED (world) and FRD (body); ROS speaks ENU and FLU (REP 103). Vectors turn by
(x, y, z) → (y, x, −z) between worlds and (x, −y, −z) between bodies; a quaternion NED/FRD turns by
q(ENU←NED) · q · q(FRD←FLU). ``stamp_ns`` is the wall clock at receipt.
Source of fields and units: MAVLink common.xml.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

Vector: TypeAlias = tuple[float, float, float]
#: (x, y, z, w), as ROS writes it.
Quaternion: TypeAlias = tuple[float, float, float, float]

STANDARD_GRAVITY = 9.80665
_HALF = math.sqrt(0.5)


@dataclass(frozen=True, slots=True)
class Imu:
    """``acceleration`` (m/s², base_link) is ``None`` where the vehicle does not tell."""

    stamp_ns: int
    orientation: Quaternion
    rates: Vector
    acceleration: Vector | None = None


@dataclass(frozen=True, slots=True)
class Odometry:
    """Pose of base_link in odom, velocity in base_link."""

    stamp_ns: int
    position: Vector
    orientation: Quaternion
    velocity: Vector
    rates: Vector


@dataclass(frozen=True, slots=True)
class Fix:
    """``valid`` is false without a 2D fix; ``accuracy_m`` is horizontal and vertical, or None."""

    stamp_ns: int
    valid: bool
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    accuracy_m: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Battery:
    """NaN is "not told"; ``remaining`` is 0..1; a discharge has a negative ``current_a``."""

    stamp_ns: int
    voltage_v: float
    current_a: float
    remaining: float


Telemetry: TypeAlias = Imu | Odometry | Fix | Battery


def world_to_enu(v: Vector) -> Vector:
    """NED → ENU, which is its own inverse."""
    return (v[1], v[0], -v[2])


def body_to_flu(v: Vector) -> Vector:
    """FRD → FLU, which is its own inverse."""
    return (v[0], -v[1], -v[2])


def quaternion_from_euler(roll: float, pitch: float, yaw: float) -> Quaternion:
    """Aerospace (Z-Y-X) angles to a quaternion, whichever world and body they are of."""
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def attitude_to_enu(q: Quaternion) -> Quaternion:
    """Orientation FRD-in-NED → FLU-in-ENU; its own inverse up to sign."""
    x, y, z, w = q
    # q(π, 0, π/2) = (√½, √½, 0, 0) from the left, q(π, 0, 0) = (1, 0, 0, 0) from the right;
    # multiplied out, and negated so that w stays positive near level.
    return (_HALF * (x + y), _HALF * (x - y), _HALF * (w - z), _HALF * (w + z))


def rotate(q: Quaternion, v: Vector, inverse: bool = False) -> Vector:
    """``v`` turned by ``q`` (body → world), or by its inverse (world → body)."""
    x, y, z, w = q
    if inverse:
        x, y, z = -x, -y, -z
    tx, ty, tz = 2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


def imu(attitude: Any, acceleration: Vector | None, stamp_ns: int) -> Imu:
    """ATTITUDE (30): rad and rad/s, NED/FRD."""
    orientation = quaternion_from_euler(attitude.roll, attitude.pitch, attitude.yaw)
    rates = body_to_flu((attitude.rollspeed, attitude.pitchspeed, attitude.yawspeed))
    return Imu(stamp_ns, attitude_to_enu(orientation), rates, acceleration)


def acceleration(scaled_imu: Any) -> Vector:
    """SCALED_IMU (26), SCALED_IMU2 (116): mG in FRD → m/s² in FLU."""
    k = STANDARD_GRAVITY / 1000
    return body_to_flu((scaled_imu.xacc * k, scaled_imu.yacc * k, scaled_imu.zacc * k))


def odometry(local: Any, attitude: Imu, stamp_ns: int) -> Odometry:
    """LOCAL_POSITION_NED (32): m and m/s, with the newest attitude."""
    velocity = rotate(
        attitude.orientation, world_to_enu((local.vx, local.vy, local.vz)), inverse=True
    )
    position = world_to_enu((local.x, local.y, local.z))
    return Odometry(stamp_ns, position, attitude.orientation, velocity, attitude.rates)


def fix(gps: Any, stamp_ns: int) -> Fix:
    """GPS_RAW_INT (24): 1e-7 deg, mm above mean sea level; accuracies in mm, 0 = not told."""
    told = bool(gps.h_acc and gps.v_acc)
    return Fix(
        stamp_ns,
        gps.fix_type >= 2,
        gps.lat / 1e7,
        gps.lon / 1e7,
        gps.alt / 1000,
        (gps.h_acc / 1000, gps.v_acc / 1000) if told else None,
    )


def battery(status: Any, stamp_ns: int) -> Battery:
    """SYS_STATUS (1): mV (65535 = not told), cA and % (−1 = not told)."""
    voltage = math.nan if status.voltage_battery == 0xFFFF else status.voltage_battery / 1000
    current = math.nan if status.current_battery < 0 else -status.current_battery / 100
    left = math.nan if status.battery_remaining < 0 else status.battery_remaining / 100
    return Battery(stamp_ns, voltage, current, left)


def angles(q: Quaternion) -> Vector:
    """(roll, pitch, yaw) in rad of an orientation in ``odom``; yaw 0 looks along x."""
    x, y, z, w = q
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return roll, pitch, yaw
