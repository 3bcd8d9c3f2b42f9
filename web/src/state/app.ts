/** The whole page after login: session, link, the robot that is shown, and the fleet. */

import { api, type NatsAccess, type Role, type Session } from "../connection/api";
import { Link } from "../connection/link";
import { isRobotName } from "../protocol/subjects";
import { Robot } from "./robot";
import { type Signal, signal } from "./signals";

export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly kind: "info" | "error";
}

const TOAST_MS = 6000;
const FLEET_MS = 10_000;
const REFRESH_BEFORE_S = 300;

export class App {
  readonly session: Session;
  readonly link: Link;
  readonly robot: Signal<Robot>;
  /** Names of the robots that the server knows, this one first. */
  readonly fleet: Signal<readonly string[]>;
  readonly toasts = signal<readonly Toast[]>([]);
  private readonly timers: ReturnType<typeof setInterval>[] = [];
  private nextToast = 1;
  private readonly found = new Set<string>();

  constructor(session: Session, onExpired: () => void) {
    this.session = session;
    this.link = new Link(() => this.access(onExpired));
    this.robot = signal(new Robot(this.link, session.robot, this.operator, session.role));
    this.fleet = signal([session.robot]);
    this.timers.push(setInterval(() => void this.search(), FLEET_MS));
    this.timers.push(setInterval(() => void this.refresh(), 60_000));
    setTimeout(() => void this.search(), 1500);
  }

  get operator(): string {
    return `${this.session.user}/${this.session.session}`;
  }

  get role(): Role {
    return this.session.role;
  }

  /** Whether the gateway of this page is the shown robot's own: it has its video and episodes. */
  isHome(robot: Robot): boolean {
    return robot.name === this.session.robot;
  }

  show(name: string): void {
    const current = this.robot.peek();
    if (!isRobotName(name) || name === current.name) return;
    this.robot.set(new Robot(this.link, name, this.operator, this.role));
    current.close();
  }

  say(text: string, kind: Toast["kind"] = "info"): void {
    const toast = { id: this.nextToast++, text, kind };
    this.toasts.set([...this.toasts.peek().slice(-3), toast]);
    setTimeout(() => {
      this.toasts.set(this.toasts.peek().filter(({ id }) => id !== toast.id));
    }, TOAST_MS);
  }

  close(): void {
    this.timers.forEach(clearInterval);
    this.robot.peek().close();
    this.link.close();
  }

  private async access(onExpired: () => void): Promise<NatsAccess> {
    try {
      return await api<NatsAccess>("/api/v1/nats");
    } catch (error) {
      if ((error as { status?: number }).status === 401) onExpired();
      throw error;
    }
  }

  /** Every robot's services answer `$SRV.PING` (ADR-32) as `<robot>-teleop`. */
  private async search(): Promise<void> {
    await this.link.gather("$SRV.PING", 1000, (body) => {
      const name = /^([a-z][a-z0-9_]*)-teleop$/.exec(String(body["name"]))?.[1];
      if (name && isRobotName(name)) this.found.add(name);
    });
    const others = [...this.found].filter((name) => name !== this.session.robot).sort();
    const next = [this.session.robot, ...others];
    if (next.join() !== this.fleet.peek().join()) this.fleet.set(next);
  }

  private async refresh(): Promise<void> {
    const left = this.session.expires_at_s - Date.now() / 1000;
    if (this.session.insecure_local || left > REFRESH_BEFORE_S) return;
    try {
      const next = await api<{ expires_at_s: number }>("/api/v1/refresh", {});
      this.session.expires_at_s = next.expires_at_s;
    } catch {
      this.say("The login could not be renewed and will end soon", "error");
    }
  }
}
