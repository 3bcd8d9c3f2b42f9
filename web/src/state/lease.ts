/**
 * The control lease as this page sees it.
 *
 * It counts as ours only until `ttl_s` after the last renewal that was *asked for* and granted: the
 * robot's own count started later, so this side always stops first.
 */

import type { Reply } from "../connection/link";
import { signal } from "./signals";

export interface Holder {
  readonly operator: string;
  readonly role: string;
}

export interface LeaseParts {
  /** Ask `dt.<robot>.srv.teleop.lease.<verb>`. */
  ask(verb: "acquire" | "renew" | "release" | "force"): Promise<Reply>;
  every(periodMs: number, tick: () => void): () => void;
  /** Monotonic, ms. */
  now(): number;
}

const RENEW_MS = 700;

export class Lease {
  readonly holder = signal<Holder | null>(null);
  readonly mine = signal(false);
  /** What happened last, for a person: refused, lost, taken over. */
  readonly note = signal("");
  readonly busy = signal(false);

  private readonly operator: string;
  private readonly parts: LeaseParts;
  private validUntil = 0;
  private asking = false;
  private cancel: (() => void) | null = null;

  constructor(operator: string, parts: LeaseParts) {
    this.operator = operator;
    this.parts = parts;
  }

  /** `force` takes over from a lower role. */
  async take(force = false): Promise<boolean> {
    this.busy.set(true);
    const asked = this.parts.now();
    const reply = await this.parts.ask(force ? "force" : "acquire");
    this.busy.set(false);
    this.see(reply["holder"]);
    if (!reply.ok) {
      this.note.set(reply.error ?? "Control was refused");
      return false;
    }
    this.note.set("");
    this.grant(asked, reply);
    this.holder.set({ operator: this.operator, role: this.holder.peek()?.role ?? "" });
    this.cancel ??= this.parts.every(RENEW_MS, () => void this.renew());
    return true;
  }

  async release(): Promise<void> {
    const had = this.mine.peek();
    this.lose("");
    if (had) await this.parts.ask("release");
    if (this.holder.peek()?.operator === this.operator) this.holder.set(null);
  }

  /** Believe the robot's word on who holds the lease (status, events). */
  see(holder: unknown): void {
    const next = asHolder(holder);
    const last = this.holder.peek();
    if (next?.operator !== last?.operator || next?.role !== last?.role) this.holder.set(next);
    if (this.mine.peek() && next?.operator !== this.operator) {
      this.lose(next ? `${next.operator} took control` : "Control was released");
    }
  }

  /** Stop counting on the lease once its time is over; call it before acting on it. */
  check(): boolean {
    if (this.mine.peek() && this.parts.now() >= this.validUntil) {
      this.lose("Control was lost: the robot did not answer in time");
    }
    return this.mine.peek();
  }

  /** Give up renewing, as when the page is hidden; the robot lets the lease expire. */
  lose(note: string): void {
    this.cancel?.();
    this.cancel = null;
    this.validUntil = 0;
    if (note) this.note.set(note);
    this.mine.set(false);
  }

  private async renew(): Promise<void> {
    if (!this.check() || this.asking) return;
    this.asking = true;
    const asked = this.parts.now();
    const reply = await this.parts.ask("renew");
    this.asking = false;
    if (!this.mine.peek()) return;
    if (reply.ok) this.grant(asked, reply);
    else if ("holder" in reply) this.see(reply["holder"]);
    this.check();
  }

  private grant(asked: number, reply: Reply): void {
    const ttl = typeof reply["ttl_s"] === "number" ? reply["ttl_s"] : 2;
    this.validUntil = asked + ttl * 1000;
    this.mine.set(true);
  }
}

function asHolder(value: unknown): Holder | null {
  if (typeof value === "string" && value) return { operator: value, role: "" };
  if (typeof value !== "object" || value === null) return null;
  const { operator, role } = value as { operator?: unknown; role?: unknown };
  if (typeof operator !== "string" || !operator) return null;
  return { operator, role: typeof role === "string" ? role : "" };
}
