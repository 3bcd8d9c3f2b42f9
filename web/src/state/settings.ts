/** What this browser remembers; checked when read, since anything may lie in the storage. */

import { type Signal, signal, watch } from "./signals";

function number(low: number, high: number, initial: number): (value: unknown) => number {
  return (value) =>
    typeof value === "number" && value >= low && value <= high ? value : initial;
}

function remembered<T>(key: string, check: (value: unknown) => T): Signal<T> {
  const name = `dialtone.${key}`;
  let stored: unknown = null;
  try {
    stored = JSON.parse(localStorage.getItem(name) ?? "null");
  } catch {
    stored = null;
  }
  const result = signal(check(stored));
  watch(() => {
    try {
      localStorage.setItem(name, JSON.stringify(result()));
    } catch {
      // Private windows may refuse; the setting then lasts as long as the page.
    }
  });
  return result;
}

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const VIDEO_PATHS = ["auto", "jpeg", "h264"] as const;
export type VideoPath = (typeof VIDEO_PATHS)[number];

export const settings = {
  /** Share of the robot's own speed limit. */
  speed: remembered("speed", number(0.05, 1, 0.5)),
  maxRttMs: remembered("max_rtt_ms", number(50, 2000, 400)),
  theme: remembered<Theme>("theme", (value) =>
    THEMES.includes(value as Theme) ? (value as Theme) : "auto",
  ),
  plots: remembered<string[]>("plots", (value) =>
    Array.isArray(value) && value.every((item) => typeof item === "string")
      ? value.slice(0, 12)
      : ["odom:twist.twist.linear.x", "odom:twist.twist.angular.z", "imu/data:angular_velocity.z"],
  ),
  video: remembered<VideoPath>("video", (value) =>
    VIDEO_PATHS.includes(value as VideoPath) ? (value as VideoPath) : "auto",
  ),
  camera: remembered("camera", (value) => (typeof value === "string" ? value : "")),
  allCameras: remembered("all_cameras", (value) => value === true),
  task: remembered("task", (value) => (typeof value === "string" ? value.slice(0, 200) : "")),
};
