/** One robot as this page knows it: telemetry, teleop's word, the lease, and the way to drive. */

import type { Link, Reply } from "../connection/link";
import { Recent } from "../connection/stats";
import { cameraOf, commandSubject, eventSubject, serviceSubject } from "../protocol/subjects";
import { encodeVelocity, type Velocity, wallNs } from "../protocol/velocity";
import type { Role } from "../connection/api";
import { Driver, TTL_MS } from "./drive";
import { type Refusal, refusalOf } from "./guard";
import { Lease } from "./lease";
import { settings } from "./settings";
import { signal } from "./signals";
import { Telemetry } from "./telemetry";

export interface TeleopStatus {
  armed: boolean;
  mode: string;
  /** Modes that the vehicle may be asked for. */
  modes: string[];
  estop: boolean;
  link: string;
  source: string;
  reasons: string[];
  estopBy: string;
  speedLimitMps: number;
  turnLimitRps: number;
  leaseWaived: boolean;
}
export interface RecorderStatus {
  recording: boolean;
  episode: string;
  messages: number;
  lost: number;
}
export interface EventLine {
  readonly at: Date;
  readonly name: string;
  readonly text: string;
}
export type EstopCall = "idle" | "sending" | "failed";

const POLL_MS = 500;
const CAMERAS_MS = 3000;
const STATUS_LASTS_MS = 3000;
const ESTOP_ASKS_FOR_MS = 15_000;
const ESTOP_FIRST_MS = 500;
const ESTOP_PAUSE_MS = 200;
const STATUS_WAIT_MS = 2500;
const DEFAULT_SPEED_MPS = 1;
const DEFAULT_TURN_RPS = 1;

const every = (periodMs: number, tick: () => void): (() => void) => {
  const timer = setInterval(tick, periodMs);
  return () => clearInterval(timer);
};
const now = (): number => performance.now();

export class Robot {
  readonly name: string;
  readonly link: Link;
  readonly role: Role;
  /** This window's name on the wire: `<user>/<session>`. */
  readonly operator: string;
  readonly telemetry: Telemetry;
  readonly lease: Lease;
  readonly driver: Driver;
  readonly status = signal<TeleopStatus | null>(null);
  readonly recorder = signal<RecorderStatus | null>(null);
  /** Question to teleop and back, ms. */
  readonly rttMs = signal<number | null>(null);
  readonly estopCall = signal<EstopCall>("idle");
  readonly events = signal<readonly EventLine[]>([]);
  /** Cameras that it has on NATS, for pages whose gateway is another robot's. */
  readonly cameras = signal<readonly string[]>([]);

  private readonly trips = new Recent(5);
  private readonly ends: (() => void)[] = [];
  private statusAt = 0;
  /** Begins above whatever this login sent before a reload: the robot refuses lower numbers. */
  private seq = Date.now();
  private estopAsked = 0;
  private polling = false;

  constructor(link: Link, name: string, operator: string, role: Role) {
    this.link = link;
    this.name = name;
    this.operator = operator;
    this.role = role;
    this.telemetry = new Telemetry(link, name);
    this.lease = new Lease(operator, {
      ask: (verb) => this.teleop(`lease.${verb}`, { operator, role }),
      every,
      now,
    });
    this.driver = new Driver({
      publish: (velocity) => this.publish(velocity),
      refusal: () => this.refusal(),
      limits: () => this.limits(),
      every,
      now,
    });
    this.ends.push(link.subscribe(eventSubject(name, ">"), (message) => {
      this.heard(message.subject, message.string());
    }));
    this.ends.push(every(POLL_MS, () => void this.poll()));
    this.ends.push(every(CAMERAS_MS, () => void this.findCameras()));
    void this.poll();
    void this.findCameras();
  }

  close(): void {
    this.estopAsked++;
    this.driver.letGo();
    void this.lease.release();
    for (const end of this.ends) end();
    this.telemetry.close();
  }

  /** Why this page would not drive now; `null` when it would. */
  refusal(): Refusal | null {
    const status = this.status.peek();
    const mine = this.lease.check();
    const holder = this.lease.holder.peek();
    const free = holder === null || holder.operator === this.operator;
    const waived = status?.leaseWaived === true;
    return refusalOf({
      connected: this.link.state.peek() === "up",
      role: this.role,
      visible: document.visibilityState === "visible",
      rttMs: this.link.rttMs.peek(),
      robotRttMs: this.rttMs.peek(),
      silenceMs: this.link.silenceMs(now()),
      backlogBytes: this.link.backlogBytes,
      maxRttMs: settings.maxRttMs.peek(),
      estop: this.estopCall.peek() !== "idle" ? true : (status?.estop ?? null),
      lease: mine ? "mine" : waived ? "waived" : free ? "free" : "theirs",
      holder: holder?.operator ?? "",
    });
  }

  limits(): { speedMps: number; yawRps: number } {
    const status = this.status.peek();
    const share = settings.speed.peek();
    return {
      speedMps: (status?.speedLimitMps ?? DEFAULT_SPEED_MPS) * share,
      yawRps: (status?.turnLimitRps ?? DEFAULT_TURN_RPS) * share,
    };
  }

  /**
   * Stop here at once and have the robot latch. Asked again until the robot confirms, also over a
   * link that comes back meanwhile; a person learns soon that it has not confirmed yet.
   */
  async estop(): Promise<void> {
    const asked = ++this.estopAsked;
    this.driver.halt({ reason: "estop", text: "E-stop is active" });
    this.estopCall.set("sending");
    const { operator, role } = this;
    const until = now() + ESTOP_ASKS_FOR_MS;
    for (let tries = 1; now() < until && asked === this.estopAsked; tries++) {
      // Longer each time: on a slow link the answer takes its time, and only it counts.
      const patience = Math.min(4000, ESTOP_FIRST_MS * 2 ** (tries - 1));
      const reply = await this.teleop("estop.fire", { operator, role }, patience);
      if (asked !== this.estopAsked) return;
      if (reply.ok) {
        this.patch({ estop: true, estopBy: operator });
        this.estopConfirmed();
        return;
      }
      if (tries === 2) this.estopCall.set("failed");
      await new Promise((resolve) => setTimeout(resolve, ESTOP_PAUSE_MS));
    }
  }

  /** By the reply, the event or the status, whichever comes first. */
  private estopConfirmed(): void {
    this.estopAsked++;
    this.estopCall.set("idle");
  }

  async clearEstop(): Promise<Reply> {
    const { operator, role } = this;
    const reply = await this.teleop("estop", { active: false, operator, role });
    if (reply.ok) {
      this.patch({ estop: reply["estop"] === true });
      this.estopConfirmed();
    }
    return reply;
  }

  async arm(active: boolean): Promise<Reply> {
    const reply = await this.teleop("arm", { active, operator: this.operator }, 5000);
    if (reply.ok) this.patch({ armed: reply["armed"] === true });
    return reply;
  }

  /** Leave the vehicle to one of its modes; the guided one takes it back. */
  setMode(mode: string): Promise<Reply> {
    return this.teleop("mode", { mode, operator: this.operator }, 5000);
  }

  /** Ask `dt.<robot>.srv.recorder.<verb>`. */
  async record(verb: string, body: object = {}): Promise<Reply> {
    const subject = serviceSubject(this.name, "recorder", verb);
    const reply = await this.link.request(subject, body, 10_000);
    void this.pollRecorder();
    return reply;
  }

  private teleop(verb: string, body: object, timeoutMs = 1000): Promise<Reply> {
    return this.link.request(serviceSubject(this.name, "teleop", verb), body, timeoutMs);
  }

  private publish(velocity: Velocity): boolean {
    const text = encodeVelocity(velocity, {
      operator: this.operator,
      seq: ++this.seq,
      ttlMs: TTL_MS,
      issuedNs: wallNs(),
    });
    return this.link.publish(commandSubject(this.name, "cmd_vel"), text);
  }

  private async poll(): Promise<void> {
    if (this.status.peek() !== null && now() - this.statusAt > STATUS_LASTS_MS) {
      this.status.set(null);
      this.rttMs.set(null);
    }
    if (this.polling || this.link.state.peek() !== "up") return;
    this.polling = true;
    const asked = now();
    const reply = await this.teleop("status", {}, STATUS_WAIT_MS);
    this.polling = false;
    if (reply.ok) {
      this.trips.add(now() - asked);
      this.rttMs.set(this.trips.quantile(0.5));
      this.statusAt = now();
      this.status.set(asStatus(reply));
      if (reply["estop"] === true) this.estopConfirmed();
      this.lease.see(reply["holder"]);
    }
    await this.pollRecorder();
  }

  private async pollRecorder(): Promise<void> {
    const reply = await this.link.request(serviceSubject(this.name, "recorder", "status"), {});
    this.recorder.set(reply.ok ? asRecorder(reply) : null);
  }

  private async findCameras(): Promise<void> {
    const reply = await this.link.request(serviceSubject(this.name, "bridge", "routes"), {});
    if (!Array.isArray(reply["routes"])) return;
    const topics = (reply["routes"] as { topic?: unknown }[]).map(({ topic }) => String(topic));
    const names = topics.map(cameraOf).filter((name) => name !== null).sort();
    if (names.join() !== this.cameras.peek().join()) this.cameras.set(names);
  }

  private patch(change: Partial<TeleopStatus>): void {
    const status = this.status.peek();
    if (status !== null) this.status.set({ ...status, ...change });
  }

  private heard(subject: string, payload: string): void {
    const name = subject.slice(eventSubject(this.name, "").length);
    let body: Record<string, unknown> = {};
    try {
      body = JSON.parse(payload) as Record<string, unknown>;
    } catch {
      return;
    }
    if (name === "teleop.lease") this.lease.see(body["holder"]);
    if (name === "teleop.estop") {
      this.patch({ estop: body["active"] === true, estopBy: text(body["by"]) });
    }
    if (name === "teleop.estop" && body["active"] === true) {
      this.estopConfirmed();
      this.driver.halt({ reason: "estop", text: "E-stop is active" });
    }
    if (name === "presence") return; // every few seconds: no event for a person
    const line = { at: new Date(), name, text: summary(body) };
    this.events.set([line, ...this.events.peek()].slice(0, 100));
  }
}

function summary(body: Record<string, unknown>): string {
  if (typeof body["event"] === "string" && typeof body["by"] === "string") {
    return `${body["event"]} by ${body["by"]}`;
  }
  return Object.entries(body)
    .filter(([key]) => key !== "stamp_ns")
    .map(([key, value]) => {
      const inner = typeof value === "object" && value !== null ? value : null;
      const short = inner && "operator" in inner ? inner.operator : inner ? JSON.stringify(inner) : value;
      return `${key} ${String(short)}`;
    })
    .join(" · ");
}

function asStatus(reply: Reply): TeleopStatus {
  const { armed, mode, estop, link, source, reasons, speed_limit_mps: speed } = reply;
  return {
    armed: armed === true,
    mode: text(mode),
    modes: Array.isArray(reply["modes"]) ? reply["modes"].map(String) : [],
    // Anything but a clear "no" counts as stopped.
    estop: estop !== false,
    link: text(link),
    source: text(source),
    reasons: Array.isArray(reasons) ? reasons.map(String) : [],
    estopBy: text(reply["estop_by"]),
    speedLimitMps: positive(speed, DEFAULT_SPEED_MPS),
    turnLimitRps: positive(reply["turn_limit_rps"], DEFAULT_TURN_RPS),
    leaseWaived: reply["lease_required"] === false,
  };
}

function asRecorder(reply: Reply): RecorderStatus {
  const count = (value: unknown) => (typeof value === "number" ? value : 0);
  return {
    recording: reply["recording"] === true,
    episode: text(reply["episode"]),
    messages: count(reply["messages"]),
    lost: count(reply["lost"]),
  };
}

function positive(value: unknown, otherwise: number): number {
  return typeof value === "number" && value > 0 ? value : otherwise;
}

function text(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

