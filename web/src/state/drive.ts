/**
 * From held inputs to velocity commands: one zero and the first command on press, 20 Hz while
 * something is held, one zero on release.
 *
 * Whatever stops a drive other than the operator's own release (a refusal, a lost link, a hidden
 * page) latches: every input must come back to neutral before the robot moves again, so that a
 * link that returns does not resume what a finger still holds.
 */

import { isZero, STOP, type Velocity } from "../protocol/velocity";
import type { Refusal } from "./guard";
import { signal } from "./signals";

/** What an input asks for, each axis -1..1: `forward` positive ahead, `turn` positive left. */
export interface Demand {
  readonly forward: number;
  readonly turn: number;
}

export interface Limits {
  readonly speedMps: number;
  readonly yawRps: number;
}

export interface DriveParts {
  /** Send one command now; `false` where it could not be sent. */
  publish(velocity: Velocity): boolean;
  refusal(): Refusal | null;
  limits(): Limits;
  /** Call `tick` each `periodMs` until the returned function is called. */
  every(periodMs: number, tick: () => void): () => void;
  /** Monotonic, ms. */
  now(): number;
}

const NEUTRAL: Demand = { forward: 0, turn: 0 };
export const PERIOD_MS = 50;
export const TTL_MS = 300;
/** A pointer reports up to 120 times a second; between ticks at most one extra command goes. */
const MIN_GAP_MS = 20;

export class Driver {
  readonly driving = signal(false);
  readonly refused = signal<Refusal | null>(null);
  readonly wanted = signal<Velocity>(STOP);
  /** What is asked for as a share of the limits. */
  readonly demand = signal<Demand>(NEUTRAL);

  private readonly parts: DriveParts;
  private readonly held = new Map<string, Demand>();
  private latched = false;
  private lastSent = Number.NEGATIVE_INFINITY;
  private cancel: (() => void) | null = null;

  constructor(parts: DriveParts) {
    this.parts = parts;
  }

  /** `source` (keys, stick, gamepad) asks for `demand` until it releases. */
  hold(source: string, demand: Demand): void {
    if (demand.forward === 0 && demand.turn === 0) {
      this.release(source);
      return;
    }
    const fresh = !this.held.has(source);
    this.held.set(source, demand);
    if (this.latched) return;
    if (!this.driving.peek()) this.begin();
    else if (fresh || this.parts.now() - this.lastSent >= MIN_GAP_MS) this.step();
  }

  release(source: string): void {
    if (!this.held.delete(source)) return;
    if (this.held.size > 0) {
      if (this.driving.peek()) this.step();
      return;
    }
    this.latched = false;
    this.refused.set(null);
    this.end();
  }

  /** Stop because of `refusal`; inputs that are still held count only after a release. */
  halt(refusal: Refusal): void {
    if (this.held.size > 0) {
      this.latched = true;
      this.refused.set(refusal);
    }
    this.end();
  }

  /** As `halt`, and every input is forgotten: its release can no longer be seen. */
  letGo(): void {
    this.held.clear();
    this.latched = false;
    this.end();
  }

  private begin(): void {
    const refusal = this.parts.refusal();
    if (refusal !== null) {
      this.latched = true;
      this.refused.set(refusal);
      return;
    }
    this.refused.set(null);
    this.driving.set(true);
    this.cancel = this.parts.every(PERIOD_MS, () => this.step());
    // Every press begins from neutral, and the robot wants to hear that (safety rule 8).
    this.parts.publish(STOP);
    this.step();
  }

  private step(): void {
    const refusal = this.parts.refusal();
    if (refusal !== null) {
      this.halt(refusal);
      return;
    }
    const velocity = this.velocity();
    this.wanted.set(velocity);
    this.lastSent = this.parts.now();
    if (!this.parts.publish(velocity)) {
      this.halt({ reason: "offline", text: "Not connected to the robot" });
    }
  }

  private end(): void {
    if (!this.driving.peek()) return;
    this.cancel?.();
    this.cancel = null;
    this.driving.set(false);
    this.wanted.set(STOP);
    this.demand.set(NEUTRAL);
    this.parts.publish(STOP);
  }

  private velocity(): Velocity {
    let forward = 0;
    let turn = 0;
    for (const demand of this.held.values()) {
      forward += demand.forward;
      turn += demand.turn;
    }
    const { speedMps, yawRps } = this.parts.limits();
    [forward, turn] = [unit(forward), unit(turn)];
    this.demand.set({ forward, turn });
    const velocity = { x: round(forward * speedMps), yaw: round(turn * yawRps) };
    return isZero(velocity) ? STOP : velocity;
  }
}

function unit(value: number): number {
  return Math.max(-1, Math.min(1, value));
}

/** To a thousandth, and never -0. */
function round(value: number): number {
  return Math.round(value * 1000) / 1000 + 0;
}
