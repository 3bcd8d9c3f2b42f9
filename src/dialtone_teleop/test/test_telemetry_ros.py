"""Telemetry as ROS messages."""

from __future__ import annotations

import math

from dialtone_teleop.ros_telemetry import to_odometry, to_transform
from dialtone_teleop.telemetry import Odometry

HALF = math.sqrt(0.5)
FACING_NORTH = Odometry(
    stamp_ns=1_700_000_000_250_000_000,
    position=(1.0, -2.0, 0.5),
    orientation=(0.0, 0.0, HALF, HALF),
    velocity=(0.4, 0.0, 0.0),
    rates=(0.0, 0.0, 0.1),
)


def test_the_transform_from_odom_to_base_link_is_the_pose_of_the_odometry() -> None:
    transform, odometry = to_transform(FACING_NORTH), to_odometry(FACING_NORTH)
    assert transform.header == odometry.header
    assert (transform.header.frame_id, transform.child_frame_id) == ("odom", "base_link")
    assert (transform.header.stamp.sec, transform.header.stamp.nanosec) == (
        1_700_000_000,
        250_000_000,
    )
    translation, position = transform.transform.translation, odometry.pose.pose.position
    assert (translation.x, translation.y, translation.z) == (1.0, -2.0, 0.5)
    assert (position.x, position.y, position.z) == (1.0, -2.0, 0.5)
    assert transform.transform.rotation == odometry.pose.pose.orientation
    assert (transform.transform.rotation.z, transform.transform.rotation.w) == (HALF, HALF)
