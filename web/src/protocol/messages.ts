/** The decoded messages by shape, and what the dashboard computes from them. Pure. */

import type { CdrObject, CdrValue } from "./cdr";

export interface Vector3 { x: number; y: number; z: number }
export interface Quaternion extends Vector3 { w: number }
export interface Odometry {
  pose: { pose: { position: Vector3; orientation: Quaternion } };
  twist: { twist: { linear: Vector3; angular: Vector3 } };
}
export interface Imu {
  orientation: Quaternion;
  angular_velocity: Vector3;
  linear_acceleration: Vector3;
}
export interface BatteryState { voltage: number; current: number; percentage: number }
export interface NavSatFix {
  status: { status: number };
  latitude: number;
  longitude: number;
  altitude: number;
}
export interface TwistStamped {
  header: { frame_id: string };
  twist: { linear: Vector3; angular: Vector3 };
}
export interface DiagnosticStatus {
  level: number;
  name: string;
  message: string;
  hardware_id: string;
  values: { key: string; value: string }[];
}
export interface DiagnosticArray { status: DiagnosticStatus[] }

export interface Attitude { roll: number; pitch: number; yaw: number }

/** Intrinsic Z-Y-X angles in radians; pitch is held within ±π/2 where rounding passes it. */
export function attitudeOf({ x, y, z, w }: Quaternion): Attitude {
  const sine = Math.max(-1, Math.min(1, 2 * (w * y - z * x)));
  return {
    roll: Math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
    pitch: Math.asin(sine),
    yaw: Math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
  };
}

/** Every finite number in a message by dotted path; covariances and stamps are left out. */
export function numericFields(message: CdrObject): Map<string, number> {
  const found = new Map<string, number>();
  collect(message, "", found);
  return found;
}

function collect(value: CdrValue, path: string, into: Map<string, number>): void {
  if (typeof value === "number") {
    if (Number.isFinite(value)) into.set(path, value);
  } else if (typeof value === "boolean") {
    into.set(path, value ? 1 : 0);
  } else if (Array.isArray(value)) {
    value.forEach((item, index) => collect(item, `${path}[${index}]`, into));
  } else if (typeof value === "object") {
    for (const key in value) {
      if (key === "stamp" || key.endsWith("covariance")) continue;
      collect(value[key] as CdrValue, path ? `${path}.${key}` : key, into);
    }
  }
}

/** Figures of a diagnostics array by `<part>/<key>`, for plots. */
export function diagnosticFigures(statuses: readonly DiagnosticStatus[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const status of statuses) {
    for (const { key, value } of status.values) {
      const number = value.trim() === "" ? Number.NaN : Number(value);
      if (Number.isFinite(number)) found.set(`${status.name}/${key}`, number);
    }
  }
  return found;
}
