/** Keys, gamepads, and everything that means that nobody holds them any more. */

import { demandOf, gamepadDemand, isDriveKey } from "../state/keys";
import type { Robot } from "../state/robot";
import { onEnd } from "../state/signals";

export interface InputParts {
  robot(): Robot;
  /** Whether drive keys drive now: the drive view is shown and no dialog is open. */
  enabled(): boolean;
}

/** Listen on the window until the current scope ends. */
export function attachInputs(parts: InputParts): void {
  const attached = new AbortController();
  const { signal } = attached;
  onEnd(() => attached.abort());
  const held = new Set<string>();
  const drop = () => {
    held.clear();
    parts.robot().driver.letGo();
  };
  const apply = () => parts.robot().driver.hold("keys", demandOf(held));

  window.addEventListener(
    "keydown",
    (event) => {
      if (isTyping(event.target)) return;
      if (event.code === "Space" && !event.ctrlKey && !event.metaKey && !event.altKey) {
        // Before any focused button sees it: Space is the e-stop wherever one is; Enter clicks.
        event.preventDefault();
        event.stopImmediatePropagation();
        if (!event.repeat) void parts.robot().estop();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey) {
        // The system may swallow the release of what is held together with these.
        if (held.size > 0) drop();
        return;
      }
      if (!isDriveKey(event.code) || !parts.enabled()) return;
      event.preventDefault();
      if (event.repeat || held.has(event.code)) return;
      held.add(event.code);
      apply();
    },
    { capture: true, signal },
  );
  window.addEventListener(
    "keyup",
    (event) => {
      if (event.code === "Space" && !isTyping(event.target)) event.preventDefault();
      if (held.delete(event.code)) apply();
    },
    { capture: true, signal },
  );
  window.addEventListener("blur", drop, { signal });
  window.addEventListener("offline", drop, { signal });
  window.addEventListener("pagehide", () => {
    drop();
    void parts.robot().lease.release();
  }, { signal });
  document.addEventListener("freeze", drop, { signal });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") return;
    drop();
    parts.robot().lease.lose("Control was let go because this page was hidden");
  }, { signal });
  pollGamepads(parts, signal);
}

function pollGamepads(parts: InputParts, signal: AbortSignal): void {
  let running = false;
  let estopHeld = false;
  const look = () => {
    if (signal.aborted) return;
    const pad = navigator.getGamepads().find((each) => each?.connected);
    const { driver } = parts.robot();
    if (!pad) {
      running = false;
      driver.release("gamepad");
      return;
    }
    const { demand, estop } = gamepadDemand(pad);
    if (estop && !estopHeld) void parts.robot().estop();
    estopHeld = estop;
    if (parts.enabled()) driver.hold("gamepad", demand);
    else driver.release("gamepad");
    requestAnimationFrame(look);
  };
  const start = () => {
    if (running) return;
    running = true;
    requestAnimationFrame(look);
  };
  window.addEventListener("gamepadconnected", start, { signal });
  const gone = () => parts.robot().driver.release("gamepad");
  window.addEventListener("gamepaddisconnected", gone, { signal });
}

const TEXT_FIELDS = "textarea, select, [contenteditable], input:not([type=range], [type=checkbox])";

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.matches(TEXT_FIELDS);
}
