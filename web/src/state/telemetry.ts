/** What a robot tells of itself, decoded where the dashboard knows the type. */

import type { Msg } from "@nats-io/nats-core";
import type { Link } from "../connection/link";
import type { CdrObject } from "../protocol/cdr";
import { WireError } from "../protocol/errors";
import {
  type BatteryState, type DiagnosticArray, diagnosticFigures, type DiagnosticStatus, type Imu,
  type NavSatFix, numericFields, type Odometry, type TwistStamped,
} from "../protocol/messages";
import { decodeMessage, isKnownType } from "../protocol/schemas";
import { HEADER, telemetrySubject } from "../protocol/subjects";
import { Series } from "./series";
import { settings } from "./settings";
import { type Signal, signal, untracked } from "./signals";

/** Topics that are always shown; a plot may ask for more. */
const TOPICS = [
  "odom", "imu/data", "battery_state", "fix", "teleop/applied", "teleop/state", "diagnostics",
] as const;
const STALE_MS = 5000;
const TRACK_POINTS = 1500;
const TRACK_STEP_M = 0.03;

export interface Diagnosis extends DiagnosticStatus {
  readonly seenMs: number;
  readonly stale: boolean;
}

export class Telemetry {
  readonly odom = signal<Odometry | null>(null);
  readonly imu = signal<Imu | null>(null);
  readonly battery = signal<BatteryState | null>(null);
  readonly fix = signal<NavSatFix | null>(null);
  readonly applied = signal<TwistStamped | null>(null);
  readonly teleop = signal<DiagnosticStatus | null>(null);
  readonly diagnostics = signal<readonly Diagnosis[]>([]);
  /** `<topic>:<path>` of each figure seen so far, for the list of what can be plotted. */
  readonly figures = signal<readonly string[]>([]);
  /** Where the robot has been, odom frame, metres, x and y alternating. */
  readonly track: number[] = [];

  private readonly link: Link;
  private readonly robot: string;
  private readonly ends = new Map<string, () => void>();
  private readonly series = new Map<string, Series>();
  private readonly known = new Set<string>();
  private readonly listed = new Set<string>();
  private readonly parts = new Map<string, Diagnosis>();
  private readonly sweeper = setInterval(() => this.sweep(), 1000);

  constructor(link: Link, robot: string) {
    this.link = link;
    this.robot = robot;
    for (const topic of TOPICS) this.listen(topic);
    for (const figure of untracked(settings.plots)) this.want(figure);
  }

  close(): void {
    clearInterval(this.sweeper);
    for (const end of this.ends.values()) end();
  }

  /** Keep the last minute of `<topic>:<path>` from now on, and return where it is kept. */
  want(figure: string): Series {
    let series = this.series.get(figure);
    if (series === undefined) {
      series = new Series();
      this.series.set(figure, series);
      this.listen(figure.slice(0, figure.indexOf(":")));
    }
    return series;
  }

  /** Stop keeping a figure. */
  forget(figure: string): void {
    this.series.delete(figure);
  }

  private listen(topic: string): void {
    if (!topic || this.ends.has(topic)) return;
    const subject = telemetrySubject(this.robot, topic);
    this.ends.set(topic, this.link.subscribe(subject, (message) => this.receive(topic, message)));
  }

  private receive(topic: string, message: Msg): void {
    const type = message.headers?.get(HEADER.type) ?? "";
    const encoding = message.headers?.get(HEADER.encoding) ?? "";
    let body: CdrObject;
    try {
      if (encoding === "json") body = message.json<CdrObject>();
      else if (encoding === "cdr" && isKnownType(type)) body = decodeMessage(type, message.data);
      else return;
    } catch (error) {
      if (error instanceof WireError || error instanceof SyntaxError) return;
      throw error;
    }
    this.show(topic, body);
    this.keep(topic, body);
  }

  private show(topic: string, body: CdrObject): void {
    const target: Record<string, Signal<never>> = {
      odom: this.odom, "imu/data": this.imu, battery_state: this.battery, fix: this.fix,
      "teleop/applied": this.applied, "teleop/state": this.teleop,
    } as unknown as Record<string, Signal<never>>;
    target[topic]?.set(body as never);
    if (topic === "odom") this.walk(body as unknown as Odometry);
    if (topic === "diagnostics") this.diagnose(body as unknown as DiagnosticArray);
  }

  private keep(topic: string, body: CdrObject): void {
    const first = !this.listed.has(topic) || topic === "diagnostics";
    let wanted = first;
    for (const figure of this.series.keys()) wanted ||= figure.startsWith(`${topic}:`);
    if (!wanted) return;
    const found = topic === "diagnostics"
      ? diagnosticFigures((body as unknown as DiagnosticArray).status)
      : numericFields(body);
    const seconds = Date.now() / 1000;
    const before = this.known.size;
    for (const [path, value] of found) {
      const figure = `${topic}:${path}`;
      this.series.get(figure)?.add(seconds, value);
      if (first) this.known.add(figure);
    }
    this.listed.add(topic);
    if (this.known.size !== before) this.figures.set([...this.known].sort());
  }

  private walk(odom: Odometry): void {
    const { x, y } = odom.pose.pose.position;
    const [lastX, lastY] = this.track.slice(-2);
    if (lastX !== undefined && lastY !== undefined) {
      if (Math.hypot(x - lastX, y - lastY) < TRACK_STEP_M) return;
    }
    this.track.push(x, y);
    if (this.track.length > 2 * TRACK_POINTS) this.track.splice(0, 2);
  }

  private diagnose(array: DiagnosticArray): void {
    const seenMs = performance.now();
    for (const status of array.status) {
      this.parts.set(status.name, { ...status, seenMs, stale: false });
    }
    this.tell();
  }

  private sweep(): void {
    const now = performance.now();
    let changed = false;
    for (const [name, part] of this.parts) {
      if (!part.stale && now - part.seenMs > STALE_MS) {
        this.parts.set(name, { ...part, stale: true });
        changed = true;
      }
    }
    if (changed) this.tell();
  }

  private tell(): void {
    const parts = [...this.parts.values()];
    this.diagnostics.set(parts.sort((a, b) => a.name.localeCompare(b.name)));
  }
}
