/** Fields of the ROS messages that the dashboard shows, in wire order (ROS 2 common interfaces). */

import type { CdrObject, Schema } from "./cdr";
import { readCdr } from "./cdr";

const HEADER = { header: "std_msgs/msg/Header" };

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  "builtin_interfaces/msg/Time": { sec: "int32", nanosec: "uint32" },
  "std_msgs/msg/Header": { stamp: "builtin_interfaces/msg/Time", frame_id: "string" },
  "std_msgs/msg/Bool": { data: "bool" },
  "std_msgs/msg/Float32": { data: "float32" },
  "std_msgs/msg/Float64": { data: "float64" },
  "std_msgs/msg/Int32": { data: "int32" },
  "std_msgs/msg/String": { data: "string" },
  "geometry_msgs/msg/Vector3": { x: "float64", y: "float64", z: "float64" },
  "geometry_msgs/msg/Point": { x: "float64", y: "float64", z: "float64" },
  "geometry_msgs/msg/Quaternion": { x: "float64", y: "float64", z: "float64", w: "float64" },
  "geometry_msgs/msg/Pose": {
    position: "geometry_msgs/msg/Point",
    orientation: "geometry_msgs/msg/Quaternion",
  },
  "geometry_msgs/msg/PoseWithCovariance": {
    pose: "geometry_msgs/msg/Pose",
    covariance: "float64[36]",
  },
  "geometry_msgs/msg/PoseStamped": { ...HEADER, pose: "geometry_msgs/msg/Pose" },
  "geometry_msgs/msg/Twist": {
    linear: "geometry_msgs/msg/Vector3",
    angular: "geometry_msgs/msg/Vector3",
  },
  "geometry_msgs/msg/TwistStamped": { ...HEADER, twist: "geometry_msgs/msg/Twist" },
  "geometry_msgs/msg/TwistWithCovariance": {
    twist: "geometry_msgs/msg/Twist",
    covariance: "float64[36]",
  },
  "nav_msgs/msg/Odometry": {
    ...HEADER,
    child_frame_id: "string",
    pose: "geometry_msgs/msg/PoseWithCovariance",
    twist: "geometry_msgs/msg/TwistWithCovariance",
  },
  "sensor_msgs/msg/Imu": {
    ...HEADER,
    orientation: "geometry_msgs/msg/Quaternion",
    orientation_covariance: "float64[9]",
    angular_velocity: "geometry_msgs/msg/Vector3",
    angular_velocity_covariance: "float64[9]",
    linear_acceleration: "geometry_msgs/msg/Vector3",
    linear_acceleration_covariance: "float64[9]",
  },
  "sensor_msgs/msg/BatteryState": {
    ...HEADER,
    voltage: "float32",
    temperature: "float32",
    current: "float32",
    charge: "float32",
    capacity: "float32",
    design_capacity: "float32",
    percentage: "float32",
    power_supply_status: "uint8",
    power_supply_health: "uint8",
    power_supply_technology: "uint8",
    present: "bool",
    cell_voltage: "float32[]",
    cell_temperature: "float32[]",
    location: "string",
    serial_number: "string",
  },
  "sensor_msgs/msg/NavSatStatus": { status: "int8", service: "uint16" },
  "sensor_msgs/msg/NavSatFix": {
    ...HEADER,
    status: "sensor_msgs/msg/NavSatStatus",
    latitude: "float64",
    longitude: "float64",
    altitude: "float64",
    position_covariance: "float64[9]",
    position_covariance_type: "uint8",
  },
  "sensor_msgs/msg/JointState": {
    ...HEADER,
    name: "string[]",
    position: "float64[]",
    velocity: "float64[]",
    effort: "float64[]",
  },
  "diagnostic_msgs/msg/KeyValue": { key: "string", value: "string" },
  "diagnostic_msgs/msg/DiagnosticStatus": {
    level: "byte",
    name: "string",
    message: "string",
    hardware_id: "string",
    values: "diagnostic_msgs/msg/KeyValue[]",
  },
  "diagnostic_msgs/msg/DiagnosticArray": {
    ...HEADER,
    status: "diagnostic_msgs/msg/DiagnosticStatus[]",
  },
};

export function isKnownType(type: string): boolean {
  return type in SCHEMAS;
}

/** Decode a CDR payload of a known type; raises `WireError`. */
export function decodeMessage(type: string, payload: Uint8Array): CdrObject {
  return readCdr(type, payload, SCHEMAS);
}
