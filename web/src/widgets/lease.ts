/** Who drives: take, release, take over. */

import type { App } from "../state/app";
import { h } from "./dom";

const RANK: Readonly<Record<string, number>> = { viewer: 0, operator: 1, admin: 2 };

export function leaseControl(app: App): HTMLElement {
  const lease = () => app.robot().lease;
  const theirs = () => {
    const holder = lease().holder();
    return holder !== null && !lease().mine() ? holder : null;
  };
  const mayForce = () => {
    const holder = theirs();
    return holder !== null && (RANK[app.role] ?? 0) > (RANK[holder.role] ?? 1);
  };
  const take = async (force: boolean) => {
    const robot = app.robot.peek();
    await (robot.lease.mine.peek() ? robot.lease.release() : robot.lease.take(force));
  };
  return h(
    "div",
    { class: "lease" },
    h(
      "button",
      {
        class: () => `button wide ${lease().mine() ? "mine" : "primary"}`,
        type: "button",
        "data-testid": "lease",
        disabled: () => app.link.state() !== "up" || app.role === "viewer" || lease().busy() || (theirs() !== null && !mayForce()),
        onclick: () => void take(mayForce()),
      },
      () => {
        if (lease().mine()) return "Release control";
        if (mayForce()) return "Take over";
        return "Take control";
      },
    ),
    h("p", { class: "note", "data-testid": "holder", role: "status" }, () => {
      const other = theirs();
      if (app.link.state() !== "up") return "Not connected";
      if (lease().mine()) return "You have control";
      if (other) return `${other.operator} has control`;
      return lease().note() || (app.role === "viewer" ? "You are watching" : "Nobody has control");
    }),
  );
}
