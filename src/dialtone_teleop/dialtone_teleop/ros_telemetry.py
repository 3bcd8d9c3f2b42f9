"""Plain telemetry → ROS messages on their topics. Callable from any one thread."""

from __future__ import annotations

import math
from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry as OdometryMsg
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, NavSatFix, NavSatStatus
from sensor_msgs.msg import Imu as ImuMsg

from dialtone_ros.qos import SENSOR
from dialtone_teleop.telemetry import Battery, Fix, Imu, Odometry, Telemetry

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # the wheels have no tf2_msgs; whoever needs TF reads odom
    TFMessage = None

ODOM, BASE_LINK = "odom", "base_link"


class TelemetryPublisher:
    """Publishes ``imu/data``, ``odom``, ``fix``, ``battery_state``, and ``/tf`` where it can."""

    def __init__(self, node: Node) -> None:
        self._imu = node.create_publisher(ImuMsg, "imu/data", SENSOR)
        self._odom = node.create_publisher(OdometryMsg, "odom", SENSOR)
        self._fix = node.create_publisher(NavSatFix, "fix", SENSOR)
        self._battery = node.create_publisher(BatteryState, "battery_state", SENSOR)
        self._tf = None if TFMessage is None else node.create_publisher(TFMessage, "/tf", 100)

    def publish(self, telemetry: Telemetry) -> None:
        """Publish one value; the actuator's thread calls this."""
        if isinstance(telemetry, Imu):
            self._imu.publish(to_imu(telemetry))
        elif isinstance(telemetry, Odometry):
            self._odom.publish(to_odometry(telemetry))
            if self._tf is not None:
                self._tf.publish(TFMessage(transforms=[to_transform(telemetry)]))
        elif isinstance(telemetry, Fix):
            self._fix.publish(to_fix(telemetry))
        else:
            self._battery.publish(to_battery(telemetry))


def to_imu(imu: Imu) -> ImuMsg:
    """``imu/data``; a first covariance of −1 says "not measured" (sensor_msgs/Imu)."""
    message = ImuMsg()
    _stamp(message.header, imu.stamp_ns, BASE_LINK)
    _quaternion(message.orientation, imu.orientation)
    _vector(message.angular_velocity, imu.rates)
    if imu.acceleration is None:
        message.linear_acceleration_covariance[0] = -1.0
    else:
        _vector(message.linear_acceleration, imu.acceleration)
    return message


def to_odometry(odometry: Odometry) -> OdometryMsg:
    message = OdometryMsg()
    _stamp(message.header, odometry.stamp_ns, ODOM)
    message.child_frame_id = BASE_LINK
    _vector(message.pose.pose.position, odometry.position)
    _quaternion(message.pose.pose.orientation, odometry.orientation)
    _vector(message.twist.twist.linear, odometry.velocity)
    _vector(message.twist.twist.angular, odometry.rates)
    return message


def to_transform(odometry: Odometry) -> TransformStamped:
    """odom → base_link, as ``/tf`` carries it."""
    message = TransformStamped()
    _stamp(message.header, odometry.stamp_ns, ODOM)
    message.child_frame_id = BASE_LINK
    _vector(message.transform.translation, odometry.position)
    _quaternion(message.transform.rotation, odometry.orientation)
    return message


def to_fix(fix: Fix) -> NavSatFix:
    message = NavSatFix()
    _stamp(message.header, fix.stamp_ns, BASE_LINK)
    message.status.status = NavSatStatus.STATUS_FIX if fix.valid else NavSatStatus.STATUS_NO_FIX
    message.status.service = NavSatStatus.SERVICE_GPS
    message.latitude, message.longitude = fix.latitude_deg, fix.longitude_deg
    message.altitude = fix.altitude_m
    if fix.accuracy_m is not None:
        horizontal, vertical = fix.accuracy_m[0] ** 2, fix.accuracy_m[1] ** 2
        message.position_covariance[0] = message.position_covariance[4] = horizontal
        message.position_covariance[8] = vertical
        message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_APPROXIMATED
    return message


def to_battery(battery: Battery) -> BatteryState:
    """``battery_state``; NaN is "not told", as the message defines."""
    message = BatteryState()
    _stamp(message.header, battery.stamp_ns, BASE_LINK)
    message.voltage, message.current = battery.voltage_v, battery.current_a
    message.percentage = battery.remaining
    message.temperature = message.charge = message.capacity = message.design_capacity = math.nan
    message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    message.present = True
    return message


def _stamp(header: Any, stamp_ns: int, frame: str) -> None:
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    header.frame_id = frame


def _vector(into: Any, value: tuple[float, float, float]) -> None:
    into.x, into.y, into.z = value


def _quaternion(into: Any, value: tuple[float, float, float, float]) -> None:
    into.x, into.y, into.z, into.w = value
