/** The e-stop: one press fires from any view; clearing asks twice. */

import type { App } from "../state/app";
import { signal } from "../state/signals";
import { h } from "./dom";

const CONFIRM_MS = 3000;

export function estopButton(app: App, testId = "estop"): HTMLElement {
  const active = () => app.robot().status()?.estop === true;
  const call = () => app.robot().estopCall();
  return h(
    "button",
    {
      class: () => `estop ${active() ? "active" : ""}`,
      type: "button",
      "data-testid": testId,
      title: "Stop the robot at once (Space)",
      "aria-pressed": () => String(active()),
      onpointerdown: (event) => {
        // On press, not on release: a finger that slides off still meant it.
        if ((event as PointerEvent).button === 0) void app.robot.peek().estop();
      },
      onclick: (event) => {
        if ((event as MouseEvent).detail === 0) void app.robot.peek().estop();
      },
    },
    () => {
      if (call() === "sending") return "Stopping…";
      return active() ? "Stopped" : "E-stop";
    },
  );
}

/** Across the page while the e-stop is active or could not be delivered. */
export function estopBanner(app: App): HTMLElement {
  const asking = signal(false);
  const clear = async () => {
    if (!asking.peek()) {
      asking.set(true);
      setTimeout(() => asking.set(false), CONFIRM_MS);
      return;
    }
    asking.set(false);
    const reply = await app.robot.peek().clearEstop();
    if (!reply.ok) app.say(reply.error ?? "The e-stop was not cleared", "error");
  };
  return h(
    "div",
    {
      class: "banner danger",
      role: "alert",
      "data-testid": "estop-banner",
      hidden: () => !app.robot().status()?.estop && app.robot().estopCall() !== "failed",
    },
    h("strong", {}, () => {
      if (app.robot().estopCall() === "failed") {
        return "The robot did not confirm the e-stop. Press again, or stop it by hand.";
      }
      const by = app.robot().status()?.estopBy;
      return by && by !== app.operator ? `E-stop is active, fired by ${by}` : "E-stop is active";
    }),
    h(
      "button",
      {
        class: "button small",
        type: "button",
        "data-testid": "estop-clear",
        hidden: () => app.role === "viewer" || app.robot().status()?.estop !== true,
        onclick: () => void clear(),
      },
      () => (asking() ? "Really clear?" : "Clear"),
    ),
  );
}
