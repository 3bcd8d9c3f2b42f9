"""Write the wire vectors that the Python and the TypeScript side are both tested against.

Run it after a change of docs/wire.md: ``python src/dialtone_core/test/vectors/generate.py``.
CDR comes from rclpy's own serialiser, so the vectors say what DDS says; ``test_vectors.py`` fails
when a file says something else than this script would. 64-bit integers are strings: JSON readers
that hold numbers in doubles would change them.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Quaternion, TwistStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import BatteryState, Imu, JointState, NavSatFix, NavSatStatus
from std_msgs.msg import Header

HERE = Path(__file__).parent
STAMP = {"sec": 1_763_700_000, "nanosec": 123_456_789}
STAMP_NS = "1763700000123456789"


def cdr() -> list[dict[str, Any]]:
    """Each shown type once, with odd string lengths so that padding is exercised."""
    half = math.sqrt(0.5)
    odometry = Odometry(header=_header("odom"), child_frame_id="base_link")
    odometry.pose.pose.position.x, odometry.pose.pose.position.y = 12.5, -3.25
    odometry.pose.pose.orientation = Quaternion(z=half, w=half)
    odometry.pose.covariance[0] = 0.01
    odometry.twist.twist.linear.x, odometry.twist.twist.angular.z = 0.4, -0.1
    imu = Imu(
        header=_header("base_link"),
        orientation=Quaternion(x=0.0, y=0.1, z=0.0, w=math.sqrt(0.99)),
        angular_velocity=Vector3(x=0.01, y=-0.02, z=0.3),
        linear_acceleration=Vector3(x=0.5, z=9.81),
    )
    battery = BatteryState(
        header=_header(""),
        voltage=12.5,
        current=-1.5,
        percentage=0.75,
        present=True,
        cell_voltage=[4.125, 4.25, 4.125],
        location="deck",
        serial_number="b-1",
    )
    battery.temperature = battery.charge = battery.capacity = battery.design_capacity = 0.0
    fix = NavSatFix(
        header=_header("gps"),
        status=NavSatStatus(status=-1, service=1),
        latitude=52.52,
        longitude=-13.405,
        altitude=34.0,
        position_covariance_type=2,
    )
    applied = TwistStamped(header=_header("base_link?operator=ada&seq=12&ttl_ms=300"))
    applied.twist.linear.x, applied.twist.angular.z = 0.4, 0.1
    status = DiagnosticStatus(
        level=bytes([1]),
        name="teleop: link",
        message="latence élevée",
        hardware_id="rover",
        values=[KeyValue(key="rtt_ms", value="41.5"), KeyValue(key="state", value="slow")],
    )
    empty = DiagnosticStatus(level=bytes([0]), name="camera_front: driver", message="ok")
    joints = JointState(header=_header("n"), name=["a", "bcd"], effort=[0.5, -0.5])
    return [
        _cdr("nav_msgs/msg/Odometry", odometry),
        _cdr("sensor_msgs/msg/Imu", imu),
        _cdr("sensor_msgs/msg/BatteryState", battery),
        _cdr("sensor_msgs/msg/NavSatFix", fix),
        _cdr("sensor_msgs/msg/JointState", joints),
        _cdr("geometry_msgs/msg/TwistStamped", applied),
        _cdr("diagnostic_msgs/msg/DiagnosticStatus", status),
        _cdr(
            "diagnostic_msgs/msg/DiagnosticArray",
            DiagnosticArray(header=_header(""), status=[status, empty]),
        ),
    ]


def commands() -> dict[str, Any]:
    """Velocity commands that are right, and texts that must move nothing."""
    right = [
        ("a walk", 0.4, 0.1, "ada/3f2a", 12, 300),
        ("a stop", 0, 0, "ada/3f2a", 13, 300),
        ("backwards, turning right", -0.25, -1.5, "eve/77aa", 9007199254740991, 250.5),
        ("nobody in particular", 1, 0, "", 0, 300),
    ]
    return {
        "encode": [
            {
                "name": name,
                "x": x,
                "yaw": yaw,
                "operator": operator,
                "seq": seq,
                "ttl_ms": ttl_ms,
                "issued_ns": STAMP_NS,
                "json": json.dumps(
                    {
                        "linear": {"x": x},
                        "angular": {"z": yaw},
                        "operator": operator,
                        "seq": seq,
                        "ttl_ms": ttl_ms,
                        "issued_ns": int(STAMP_NS),
                    },
                    separators=(",", ":"),
                ),
            }
            for name, x, yaw, operator, seq, ttl_ms in right
        ],
        "refuse": [
            {"json": "", "reason": "not_json"},
            {"json": "{", "reason": "not_json"},
            {"json": '{"linear":{"x":NaN}}', "reason": "not_json"},
            {"json": "[]", "reason": "not_object"},
            {"json": "{}", "reason": "empty"},
            {"json": '{"linaer":{"x":1}}', "reason": "unknown_field"},
            {"json": '{"linear":{"x":"1"}}', "reason": "not_number"},
            {"json": '{"linear":{"x":true}}', "reason": "not_number"},
            {"json": '{"linear":{"x":1},"operator":5}', "reason": "not_string"},
            {"json": '{"linear":{"x":1},"seq":1.5}', "reason": "not_number"},
        ],
    }


def subjects() -> list[dict[str, str]]:
    """Names of one robot's subjects."""
    return [
        {"kind": "tlm", "robot": "rover", "path": "/odom", "subject": "dt.rover.tlm.odom"},
        {
            "kind": "tlm",
            "robot": "rover",
            "path": "/camera/front/image_raw/compressed",
            "subject": "dt.rover.tlm.camera.front.image_raw.compressed",
        },
        {"kind": "tlm", "robot": "r2", "path": "/imu/data", "subject": "dt.r2.tlm.imu.data"},
        {"kind": "cmd", "robot": "rover", "path": "cmd_vel", "subject": "dt.rover.cmd.cmd_vel"},
        *(
            {"kind": kind, "robot": "r2", "namespace": "/robot2", "path": path, "subject": subject}
            for kind, path, subject in (
                ("tlm", "/robot2/odom", "dt.r2.tlm.odom"),
                ("tlm", "odom", "dt.r2.tlm.odom"),
                ("tlm", "/odom", "dt.r2.tlm._root.odom"),
                ("tlm", "/robot22/odom", "dt.r2.tlm._root.robot22.odom"),
                ("tlm", "/robot2/_root/odom", "dt.r2.tlm._root.robot2._root.odom"),
                ("cmd", "/robot2/cmd_vel", "dt.r2.cmd.cmd_vel"),
                ("cmd", "/cmd_vel", "dt.r2.cmd._root.cmd_vel"),
            )
        ),
        {"kind": "evt", "robot": "rover", "path": "recorder", "subject": "dt.rover.evt.recorder"},
        {
            "kind": "srv",
            "robot": "rover",
            "path": "teleop lease.acquire",
            "subject": "dt.rover.srv.teleop.lease.acquire",
        },
    ]


def video() -> list[dict[str, Any]]:
    """Frames of the WebSocket video path: a 24-byte little-endian header, then the picture."""
    capture, sent, seq = int(STAMP_NS), int(STAMP_NS) + 2_500_000, 4_294_967_295
    picture = bytes.fromhex("ffd8ffd9")
    header = struct.pack("<BBHIQQ", 1, 0, 0, seq, capture, sent)
    return [
        {
            "hex": (header + picture).hex(),
            "kind": 0,
            "seq": seq,
            "capture_ns": str(capture),
            "sent_ns": str(sent),
            "picture_hex": picture.hex(),
        },
    ]


def _header(frame: str) -> Header:
    header = Header(frame_id=frame)
    header.stamp.sec, header.stamp.nanosec = STAMP["sec"], STAMP["nanosec"]
    return header


def _cdr(type_name: str, message: Any) -> dict[str, Any]:
    return {"type": type_name, "hex": serialize_message(message).hex(), "value": _plain(message)}


def _plain(value: Any) -> Any:
    """A message as JSON: what a reader must make of the bytes."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: _plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, bytes):
        return value[0]
    if isinstance(value, str | bool | int | float):
        return value
    return [_plain(item) for item in value]


def tables() -> dict[str, Any]:
    """File stem to what belongs into that file of this folder."""
    return {"cdr": cdr(), "commands": commands(), "subjects": subjects(), "video": video()}


if __name__ == "__main__":
    for name, table in tables().items():
        text = json.dumps(table, indent=1, ensure_ascii=False) + "\n"
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")
