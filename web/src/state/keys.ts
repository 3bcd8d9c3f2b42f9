/** Which keys drive, and what a set of held ones asks for. Pure. */

import type { Demand } from "./drive";

const AXES: Readonly<Record<string, Demand>> = {
  KeyW: { forward: 1, turn: 0 },
  ArrowUp: { forward: 1, turn: 0 },
  KeyS: { forward: -1, turn: 0 },
  ArrowDown: { forward: -1, turn: 0 },
  KeyA: { forward: 0, turn: 1 },
  ArrowLeft: { forward: 0, turn: 1 },
  KeyD: { forward: 0, turn: -1 },
  ArrowRight: { forward: 0, turn: -1 },
};

/** By place on the keyboard (`KeyboardEvent.code`), so that any layout drives alike. */
export function isDriveKey(code: string): boolean {
  return code in AXES;
}

/** Two keys of one direction count once; opposite keys cancel. */
export function demandOf(held: ReadonlySet<string>): Demand {
  let [up, down, left, right] = [0, 0, 0, 0];
  for (const code of held) {
    const axis = AXES[code];
    if (axis === undefined) continue;
    up = Math.max(up, axis.forward);
    down = Math.min(down, axis.forward);
    left = Math.max(left, axis.turn);
    right = Math.min(right, axis.turn);
  }
  return { forward: up + down, turn: left + right };
}

const DEADZONE = 0.12;

/** A stick's deflection, scaled so that motion begins at 0 behind the dead zone. */
export function stick(value: number): number {
  const size = Math.abs(value);
  if (!(size > DEADZONE)) return 0;
  return Math.sign(value) * Math.min(1, (size - DEADZONE) / (1 - DEADZONE));
}

export interface PadState {
  readonly axes: readonly number[];
  readonly buttons: readonly { readonly pressed: boolean }[];
}

/**
 * Standard mapping (W3C Gamepad): left stick forward, left or right stick to turn, only while a
 * shoulder button (4, 5) is held; button 1 (B, circle) is the e-stop.
 */
export function gamepadDemand(pad: PadState): { demand: Demand; estop: boolean } {
  const pressed = (index: number) => pad.buttons[index]?.pressed === true;
  const estop = pressed(1);
  if (!pressed(4) && !pressed(5)) return { demand: { forward: 0, turn: 0 }, estop };
  const side = stick(pad.axes[0] ?? 0) || stick(pad.axes[2] ?? 0);
  return { demand: { forward: -stick(pad.axes[1] ?? 0) + 0, turn: -side + 0 }, estop };
}
