/** The JSON of a velocity command on `dt.<robot>.cmd.cmd_vel`. Pure; see docs/wire.md, "Driving". */

import { WireError } from "./errors";

/** In `base_link` (REP 103): `x` forward in m/s, `yaw` counter-clockwise in rad/s. */
export interface Velocity {
  readonly x: number;
  readonly yaw: number;
}

/** Who sends a command, in which order, and how long after its receipt it may be acted on. */
export interface Envelope {
  readonly operator: string;
  readonly seq: number;
  readonly ttlMs: number;
  /** The operator's own clock, ns since the Unix epoch: too big for a double. */
  readonly issuedNs: bigint;
}

export const STOP: Velocity = { x: 0, yaw: 0 };
const MAX_OPERATOR = 64;

export function isZero(velocity: Velocity): boolean {
  return velocity.x === 0 && velocity.yaw === 0;
}

/**
 * Encode a whole command. Throws `WireError` (`not_finite`, `not_number`, `not_string`) for what
 * the robot would refuse anyway, so that the operator learns it here.
 */
export function encodeVelocity(velocity: Velocity, envelope: Envelope): string {
  if (!Number.isFinite(velocity.x) || !Number.isFinite(velocity.yaw)) {
    throw new WireError("not_finite", `x=${velocity.x} yaw=${velocity.yaw}`);
  }
  if (!Number.isSafeInteger(envelope.seq)) throw new WireError("not_number", "seq");
  if (!(envelope.ttlMs > 0)) throw new WireError("not_number", "ttl_ms");
  if (envelope.operator.length > MAX_OPERATOR) throw new WireError("not_string", "operator");
  const head = JSON.stringify({
    linear: { x: velocity.x },
    angular: { z: velocity.yaw },
    operator: envelope.operator,
    seq: envelope.seq,
    ttl_ms: envelope.ttlMs,
  });
  return `${head.slice(0, -1)},"issued_ns":${envelope.issuedNs}}`;
}

/** This browser's wall clock in ns, at the resolution that `performance.now()` has. */
export function wallNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n;
}
