/** May this page drive right now, and if not, why not. Pure; fails closed. */

export interface Situation {
  readonly connected: boolean;
  readonly role: string;
  readonly visible: boolean;
  /** Round trip to the NATS server and through teleop, ms; `null` while not measured. */
  readonly rttMs: number | null;
  readonly robotRttMs: number | null;
  /** How long an answer has been missing, ms. */
  readonly silenceMs: number;
  readonly backlogBytes: number;
  readonly maxRttMs: number;
  /** `null` while teleop has not answered. */
  readonly estop: boolean | null;
  readonly lease: "mine" | "free" | "theirs" | "waived";
  readonly holder: string;
}

export interface Refusal {
  readonly reason: string;
  readonly text: string;
}

/** A frame of video may wait in the socket; a second of commands may not. */
const MAX_BACKLOG_BYTES = 4096;

export function refusalOf(at: Situation): Refusal | null {
  if (at.role === "viewer") return no("viewer", "Your role is viewer: you can watch and e-stop");
  if (!at.connected) return no("offline", "Not connected to the robot");
  if (!at.visible) return no("hidden", "This window is not in front");
  if (at.estop === null) return no("no_status", "The robot's teleop does not answer");
  if (at.estop) return no("estop", "E-stop is active");
  if (at.lease === "theirs") return no("held", `${at.holder} has control`);
  if (at.lease === "free") return no("no_lease", "Take control first");
  const rtt = Math.max(at.rttMs ?? 0, at.robotRttMs ?? 0);
  if (at.rttMs === null) return no("unmeasured", "The link is being measured");
  if (rtt > at.maxRttMs) {
    return no("slow_link", `Round trip ${rtt.toFixed(0)} ms is above ${at.maxRttMs} ms`);
  }
  if (at.silenceMs > at.maxRttMs) {
    return no("silent_link", `No answer for ${(at.silenceMs / 1000).toFixed(1)} s`);
  }
  if (at.backlogBytes > MAX_BACKLOG_BYTES) return no("stalled", "The link is stalled");
  return null;
}

function no(reason: string, text: string): Refusal {
  return { reason, text };
}
