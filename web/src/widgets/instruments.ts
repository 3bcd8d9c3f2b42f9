/** Attitude and map, drawn from telemetry. */

import { type Attitude, attitudeOf } from "../protocol/messages";
import type { App } from "../state/app";
import { color, drawing } from "./canvas";

const LEVEL: Attitude = { roll: 0, pitch: 0, yaw: 0 };

/** An artificial horizon from the IMU, or from odometry where there is none. */
export function horizon(app: App): HTMLElement {
  return drawing("horizon", "Attitude", 20, (context, width, height) => {
    const { imu, odom } = app.robot.peek().telemetry;
    const source = imu.peek()?.orientation ?? odom.peek()?.pose.pose.orientation;
    const { roll, pitch } = source ? attitudeOf(source) : LEVEL;
    const radius = Math.min(width, height) / 2 - 1;
    context.translate(width / 2, height / 2);
    context.save();
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.clip();
    context.rotate(-roll);
    const offset = (pitch / (Math.PI / 4)) * radius;
    context.fillStyle = color("sky");
    context.fillRect(-2 * radius, -2 * radius, 4 * radius, 2 * radius + offset);
    context.fillStyle = color("ground");
    context.fillRect(-2 * radius, offset, 4 * radius, 4 * radius);
    context.strokeStyle = color("faint");
    context.lineWidth = 1;
    for (const degrees of [-20, -10, 10, 20]) {
      const y = offset - (degrees / 45) * radius;
      line(context, -radius / 4, y, radius / 4, y);
    }
    context.restore();
    context.strokeStyle = color("accent");
    context.lineWidth = 2;
    line(context, -radius * 0.5, 0, -radius * 0.16, 0);
    line(context, radius * 0.16, 0, radius * 0.5, 0);
    context.strokeStyle = color("line");
    context.lineWidth = 1;
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.stroke();
  });
}

const MIN_SPAN_M = 6;

/** The way that odometry tells, x (east) to the right and y (north) up, scaled to fit. */
export function miniMap(app: App): HTMLElement {
  return drawing("minimap", "Map of where the robot has been", 15, (context, width, height) => {
    const { odom, track } = app.robot.peek().telemetry;
    const pose = odom.peek()?.pose.pose;
    const here = pose?.position ?? { x: 0, y: 0 };
    const box = bounds(track, here);
    const scale = (Math.min(width, height) - 28) / Math.max(MIN_SPAN_M, box.width, box.height);
    const toX = (x: number) => width / 2 + (x - box.x) * scale;
    const toY = (y: number) => height / 2 - (y - box.y) * scale;
    grid(context, width, height, box, scale);
    context.strokeStyle = color("accent");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    for (let index = 0; index < track.length; index += 2) {
      context.lineTo(toX(track[index] as number), toY(track[index + 1] as number));
    }
    context.lineTo(toX(here.x), toY(here.y));
    context.stroke();
    arrow(context, toX(here.x), toY(here.y), pose ? attitudeOf(pose.orientation).yaw : 0);
  });
}

interface Box { x: number; y: number; width: number; height: number }

function bounds(track: readonly number[], here: { x: number; y: number }): Box {
  let [left, right, low, high] = [here.x, here.x, here.y, here.y];
  for (let index = 0; index < track.length; index += 2) {
    left = Math.min(left, track[index] as number);
    right = Math.max(right, track[index] as number);
    low = Math.min(low, track[index + 1] as number);
    high = Math.max(high, track[index + 1] as number);
  }
  return { x: (left + right) / 2, y: (low + high) / 2, width: right - left, height: high - low };
}

function grid(
  context: CanvasRenderingContext2D, width: number, height: number, box: Box, scale: number,
): void {
  const step = [1, 2, 5, 10, 20, 50, 100, 500].find((each) => each * scale > 26) ?? 1000;
  context.strokeStyle = color("line");
  context.lineWidth = 1;
  const spanX = width / scale / 2;
  const spanY = height / scale / 2;
  for (let x = Math.ceil((box.x - spanX) / step) * step; x < box.x + spanX; x += step) {
    const at = Math.round(width / 2 + (x - box.x) * scale) + 0.5;
    line(context, at, 0, at, height);
  }
  for (let y = Math.ceil((box.y - spanY) / step) * step; y < box.y + spanY; y += step) {
    const at = Math.round(height / 2 - (y - box.y) * scale) + 0.5;
    line(context, 0, at, width, at);
  }
  context.fillStyle = color("muted");
  context.font = "11px system-ui, sans-serif";
  context.fillText(`${step} m`, 8, height - 8);
}

function arrow(context: CanvasRenderingContext2D, x: number, y: number, yaw: number): void {
  context.save();
  context.translate(x, y);
  context.rotate(-yaw);
  context.fillStyle = color("text");
  context.beginPath();
  context.moveTo(9, 0);
  context.lineTo(-6, 6);
  context.lineTo(-3, 0);
  context.lineTo(-6, -6);
  context.fill();
  context.restore();
}

function line(
  context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number,
): void {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
