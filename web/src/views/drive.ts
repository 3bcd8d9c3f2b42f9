/** See and drive. */

import { attitudeOf } from "../protocol/messages";
import type { App } from "../state/app";
import type { Robot } from "../state/robot";
import { settings } from "../state/settings";
import { type Signal, untracked } from "../state/signals";
import { type Child, h } from "../widgets/dom";
import { estopButton } from "../widgets/estop";
import { horizon, miniMap } from "../widgets/instruments";
import { joystick } from "../widgets/joystick";
import { leaseControl } from "../widgets/lease";
import { keyed } from "../widgets/list";
import { videoTile } from "../widgets/video";
import { fixed, words } from "./format";

export function driveView(app: App, cameras: Signal<readonly string[]>): HTMLElement {
  return h(
    "main",
    { class: "drive", "data-testid": "drive" },
    h("section", { class: "stage-column" }, () => stage(app, app.robot(), cameras()), statusStrip(app)),
    h("div", { class: "full-only" }, estopButton(app, "estop-full")),
    h("section", { class: "controls" }, controlCard(app), readouts(app), h(
      "div", { class: "card instruments" }, miniMap(app), horizon(app),
    )),
  );
}

function stage(app: App, robot: Robot, cameras: readonly string[]): HTMLElement {
  const names = app.isHome(robot) ? cameras : robot.cameras();
  if (names.length === 0) {
    return h("div", { class: "stage empty" }, h("p", {}, "No camera is on the line"));
  }
  const all = settings.allCameras() || names.length === 1;
  const chosen = settings.camera();
  const one = names.find((name) => name === chosen) ?? (names[0] as string);
  const shown = all ? names : [one];
  const pick = (name: string | null) => {
    settings.allCameras.set(name === null);
    if (name !== null) settings.camera.set(name);
  };
  const tiles = untracked(() => shown.map((camera) => videoTile(app, robot, camera)));
  return h(
    "div",
    { class: `stage count-${Math.min(shown.length, 4)}` },
    tiles,
    names.length > 1 &&
      h("div", { class: "chooser", role: "group", "aria-label": "Cameras" },
        h("button", { type: "button", class: all ? "on" : "", onclick: () => pick(null) }, "All"),
        names.map((name) =>
          h("button", {
            type: "button",
            class: !all && shown[0] === name ? "on" : "",
            onclick: () => pick(name),
          }, name))),
  );
}

function controlCard(app: App): HTMLElement {
  const robot = () => app.robot();
  return h(
    "div",
    { class: "card control" },
    leaseControl(app),
    h("div", { class: "pad-row" }, joystick(
      () => app.robot.peek().driver, () => robot().driver.demand(),
    ), h(
      "div",
      { class: "pad-side" },
      h("p", { class: "speed", "data-testid": "speed" }, () =>
        fixed(robot().telemetry.odom()?.twist.twist.linear.x, 2), h("small", {}, " m/s")),
      speedLimit(app),
      armButton(app),
      modeChoice(app),
    )),
    h(
      "p",
      { class: () => `refusal ${robot().driver.refused() ? "shown" : ""}`, role: "alert", "data-testid": "refusal" },
      () => robot().driver.refused()?.text ?? hint(robot()),
    ),
  );
}

function hint(robot: Robot): string {
  if (robot.driver.driving()) {
    const { x, yaw } = robot.driver.wanted();
    return `Asking ${fixed(x, 2, "m/s")}, ${fixed(yaw, 2, "rad/s")}`;
  }
  // What decides is read once more here, so that the line follows it.
  robot.status();
  robot.lease.mine();
  robot.link.rttMs();
  return robot.refusal()?.text ?? "Drag the pad, or hold W A S D";
}

function speedLimit(app: App): HTMLElement {
  const limit = () => {
    settings.speed();
    app.robot().status();
    return app.robot().limits().speedMps;
  };
  return h(
    "label",
    { class: "slider" },
    h("span", {}, "Limit ", h("b", { "data-testid": "limit" }, () => fixed(limit(), 2, "m/s"))),
    h("input", {
      type: "range", min: "0.05", max: "1", step: "0.05", value: () => settings.speed(),
      "aria-label": "Speed limit",
      oninput: (event) => settings.speed.set(Number((event.target as HTMLInputElement).value)),
      // A slider that kept the focus would take the arrow keys away from driving.
      onpointerup: (event) => (event.target as HTMLElement).blur(),
    }),
  );
}

function armButton(app: App): HTMLElement {
  const armed = () => app.robot().status()?.armed === true;
  const toggle = async () => {
    const reply = await app.robot.peek().arm(!armed());
    if (!reply.ok) app.say(reply.error ?? "The robot refused", "error");
  };
  return h(
    "button",
    {
      class: "button", type: "button", "data-testid": "arm",
      disabled: () => app.role === "viewer" || app.robot().status() === null,
      onclick: () => void toggle(),
    },
    () => (armed() ? "Disarm" : "Arm"),
  );
}

/** The vehicle's own modes. Choosing one takes the hands off; the guided one takes it back. */
function modeChoice(app: App): HTMLElement {
  const status = () => app.robot().status();
  const choose = async (event: Event) => {
    const choice = event.target as HTMLSelectElement;
    const reply = await app.robot.peek().setMode(choice.value);
    if (!reply.ok) app.say(reply.error ?? "The robot refused", "error");
    choice.value = "";
    choice.blur(); // its letters and arrows are for driving
  };
  const select = h("select", {
    "data-testid": "mode-choice", "aria-label": "Mode of the vehicle",
    hidden: () => !status()?.modes.length,
    disabled: () => app.role === "viewer",
    onchange: (event) => void choose(event),
  });
  const choices = () => ["", ...(status()?.modes ?? [])];
  return keyed(select, choices, (mode) => mode, (mode) =>
    h("option", { value: mode.peek() }, mode.peek() || "Mode …"));
}

function figure(label: string, value: Child, testid = ""): HTMLElement {
  return h("div", { class: "figure" }, h("dt", {}, label), h("dd", { "data-testid": testid || null }, value));
}

function readouts(app: App): HTMLElement {
  const t = () => app.robot().telemetry;
  const degrees = (pick: (angles: { roll: number; pitch: number; yaw: number }) => number) => () => {
    const q = t().imu()?.orientation ?? t().odom()?.pose.pose.orientation;
    return q ? fixed((pick(attitudeOf(q)) * 180) / Math.PI, 1, "°").replace("\u00a0", "") : "–";
  };
  const position = () => t().odom()?.pose.pose.position;
  return h(
    "dl",
    { class: "card figures" },
    figure("Turn", () => fixed(t().odom()?.twist.twist.angular.z, 2, "rad/s")),
    figure("Battery", () => {
      const battery = t().battery();
      return battery ? `${fixed(battery.voltage, 1, "V")}` : "–";
    }),
    figure("Mode", () => app.robot().status()?.mode || "–", "mode"),
    figure("Roll", degrees(({ roll }) => roll)),
    figure("Pitch", degrees(({ pitch }) => pitch)),
    figure("Heading", degrees(({ yaw }) => yaw)),
    figure("East", () => fixed(position()?.x, 2, "m"), "odom-x"),
    figure("North", () => fixed(position()?.y, 2, "m"), "odom-y"),
    figure("Fix", () => {
      const fix = t().fix();
      return fix ? (fix.status.status >= 0 ? "yes" : "none") : "–";
    }),
  );
}

/** Why what goes to the vehicle differs from what was asked, in the robot's own words. */
function statusStrip(app: App): HTMLElement {
  // Nobody asking for anything is no reason to be told about.
  const reasons = () => (app.robot().status()?.reasons ?? []).filter((each) => each !== "idle");
  return h(
    "div",
    { class: "strip", "data-testid": "strip" },
    h("span", { class: () => `chip ${app.robot().status()?.armed ? "ok" : ""}`, "data-testid": "armed" }, () => {
      const status = app.robot().status();
      if (status === null) return "No teleop";
      return status.armed ? "Armed" : "Disarmed";
    }),
    h("span", { class: "chip", hidden: () => !app.robot().status()?.source }, () =>
      `Driven by ${app.robot().status()?.source ?? ""}`),
    h("span", { class: "reasons" }, () => reasons().map(words).join(" · ")),
    h("span", { class: "applied", title: "What really went to the vehicle" }, () => {
      const applied = app.robot().telemetry.applied()?.twist;
      return applied ? `Applied ${fixed(applied.linear.x, 2)} m/s  ${fixed(applied.angular.z, 2)} rad/s` : "";
    }),
  );
}
