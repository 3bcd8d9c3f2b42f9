"""Frames: NED and FRD on the wire, ENU and FLU in ROS."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymavlink.dialects.v20 import common as mavlink

from dialtone_teleop import telemetry

NUMBER = st.floats(-1e4, 1e4)
VECTOR = st.tuples(NUMBER, NUMBER, NUMBER)
ANGLE = st.floats(-math.pi, math.pi)


@given(VECTOR)
def test_turning_a_vector_twice_gives_it_back(v: telemetry.Vector) -> None:
    assert telemetry.world_to_enu(telemetry.world_to_enu(v)) == v
    assert telemetry.body_to_flu(telemetry.body_to_flu(v)) == v


@given(ANGLE, ANGLE, ANGLE, VECTOR)
def test_an_attitude_turns_bodies_alike_in_both_worlds(
    roll: float, pitch: float, yaw: float, v: telemetry.Vector
) -> None:
    ned = telemetry.quaternion_from_euler(roll, pitch, yaw)
    enu = telemetry.attitude_to_enu(ned)
    assert sum(each * each for each in enu) == pytest.approx(1)
    by_ned = telemetry.world_to_enu(telemetry.rotate(ned, v))
    by_enu = telemetry.rotate(enu, telemetry.body_to_flu(v))
    assert by_enu == pytest.approx(by_ned, abs=1e-6)
    assert telemetry.rotate(enu, by_enu, inverse=True) == pytest.approx(
        telemetry.body_to_flu(v), abs=1e-6
    )


@pytest.mark.parametrize(
    ("compass_deg", "yaw_deg"), [(0, 90), (90, 0), (180, -90), (-90, 180), (45, 45)]
)
def test_north_is_y_and_east_is_x(compass_deg: float, yaw_deg: float) -> None:
    message = mavlink.MAVLink_attitude_message(0, 0, 0, math.radians(compass_deg), 0, 0, 0.5)
    imu = telemetry.imu(message, None, 7)
    heading = telemetry.rotate(imu.orientation, (1.0, 0.0, 0.0))
    expected = (math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg)), 0)
    assert heading == pytest.approx(expected, abs=1e-9)
    assert imu.rates == (0, 0, -0.5)
    assert telemetry.angles(imu.orientation)[:2] == pytest.approx((0, 0), abs=1e-9)


@given(st.floats(-1.4, 1.4), st.floats(-1.4, 1.4), ANGLE)
def test_roll_keeps_its_sign_and_pitch_turns_it(roll: float, pitch: float, yaw: float) -> None:
    enu = telemetry.attitude_to_enu(telemetry.quaternion_from_euler(roll, pitch, yaw))
    assert telemetry.angles(enu)[:2] == pytest.approx((roll, -pitch), abs=1e-6)


def test_velocity_is_told_in_the_body() -> None:
    attitude = telemetry.imu(mavlink.MAVLink_attitude_message(0, 0, 0, 1.0, 0, 0, 0), None, 0)
    local = mavlink.MAVLink_local_position_ned_message(
        0, 1, 2, 3, 0.5 * math.cos(1.0), 0.5 * math.sin(1.0), 0
    )
    odometry = telemetry.odometry(local, attitude, 0)
    assert odometry.velocity == pytest.approx((0.5, 0, 0), abs=1e-9)
    assert odometry.position == (2, 1, -3)


def test_a_level_accelerometer_feels_gravity_upwards() -> None:
    scaled = mavlink.MAVLink_scaled_imu_message(0, 0, 0, -1000, 0, 0, 0, 0, 0, 0)
    assert telemetry.acceleration(scaled) == pytest.approx((0, 0, 9.80665))


def test_what_a_battery_does_not_tell_is_nan() -> None:
    silent = mavlink.MAVLink_sys_status_message(0, 0, 0, 0, 0xFFFF, -1, -1, 0, 0, 0, 0, 0, 0)
    battery = telemetry.battery(silent, 0)
    assert all(map(math.isnan, (battery.voltage_v, battery.current_a, battery.remaining)))
    told = mavlink.MAVLink_sys_status_message(0, 0, 0, 0, 12600, 150, 80, 0, 0, 0, 0, 0, 0)
    assert telemetry.battery(told, 0) == telemetry.Battery(0, 12.6, -1.5, 0.8)


def test_a_fix_without_accuracy_claims_none() -> None:
    gps = mavlink.MAVLink_gps_raw_int_message(0, 3, 481000000, 115000000, 520000, 0, 0, 0, 0, 9)
    fix = telemetry.fix(gps, 0)
    assert (fix.valid, fix.latitude_deg, fix.longitude_deg, fix.altitude_m) == (
        True,
        48.1,
        11.5,
        520.0,
    )
    assert fix.accuracy_m is None
