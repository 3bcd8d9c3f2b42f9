/** The frame of every view: who, where, how the link is, and the e-stop. */

import { api, type RobotInfo } from "../connection/api";
import type { App } from "../state/app";
import { settings } from "../state/settings";
import { type Signal, onEnd, paint, signal, untracked, watch } from "../state/signals";
import { h } from "../widgets/dom";
import { estopBanner, estopButton } from "../widgets/estop";
import { attachInputs } from "../widgets/inputs";
import { keyed } from "../widgets/list";
import { driveView } from "./drive";
import { episodesView } from "./episodes";
import { fixed } from "./format";
import { healthView } from "./health";
import { plotsView } from "./plots";
import { settingsDialog } from "./settings";

const VIEWS = { drive: "Drive", plots: "Plots", health: "Health", episodes: "Episodes" } as const;
type ViewName = keyof typeof VIEWS;

export function shell(app: App, onLogout: () => void): HTMLElement {
  const view = signal<ViewName>(fromHash());
  const cameras = signal<readonly string[]>([]);
  const info = signal<RobotInfo | null>(null);
  window.onhashchange = () => view.set(fromHash());
  followRobot(info, cameras);
  const dialog = settingsDialog(app, info, onLogout);
  attachInputs({
    robot: () => app.robot.peek(),
    enabled: () => view.peek() === "drive" && !dialog.open,
  });
  watch(() => {
    if (view() !== "drive") app.robot.peek().driver.letGo();
  });
  paint(() => {
    document.title = `${app.robot().name} · Dialtone`;
  });
  return h(
    "div",
    { class: "shell" },
    topBar(app, view, () => (dialog.open ? dialog.close() : dialog.show())),
    estopBanner(app),
    h("div", {
      class: "banner", role: "status", "data-testid": "offline",
      hidden: () => app.link.state() !== "down",
    }, () => `Off the line: ${app.link.why() || "connecting"}. Trying again.`),
    () => build(app, view(), cameras),
    tabs(view, "tabs bottom"),
    keyed(h("div", { class: "toasts", role: "status" }), app.toasts, ({ id }) => String(id), (toast) =>
      h("p", { class: () => `toast ${toast().kind}` }, () => toast().text)),
    dialog,
  );
}

function build(app: App, view: ViewName, cameras: Signal<readonly string[]>): HTMLElement {
  return untracked(() => {
    if (view === "plots") return plotsView(app);
    if (view === "health") return healthView(app);
    return view === "episodes" ? episodesView(app) : driveView(app, cameras);
  });
}

/** Cameras come and go; ask while the page is open. */
function followRobot(info: Signal<RobotInfo | null>, cameras: Signal<readonly string[]>): void {
  const load = async () => {
    const robot = await api<RobotInfo>("/api/v1/robot");
    info.set(robot);
    const names = robot.cameras ?? [];
    if (names.join() !== cameras.peek().join()) cameras.set(names);
  };
  const timer = setInterval(() => void load().catch(() => {}), 3000);
  onEnd(() => clearInterval(timer));
  void load().catch(() => {});
}

function fromHash(): ViewName {
  const name = location.hash.slice(1);
  return name in VIEWS ? (name as ViewName) : "drive";
}

function tabs(view: () => ViewName, className: string): HTMLElement {
  return h("nav", { class: className, "aria-label": "Views" }, Object.entries(VIEWS).map(([name, label]) =>
    h("a", {
      href: `#${name}`, "data-testid": `tab-${name}`,
      "aria-current": () => (view() === name ? "page" : null),
    }, label)));
}

function topBar(app: App, view: () => ViewName, openSettings: () => void): HTMLElement {
  const choose = h("select", {
    class: "fleet", "aria-label": "Robot", "data-testid": "fleet", value: () => app.robot().name,
    onchange: (event) => app.show((event.target as HTMLSelectElement).value),
  });
  keyed(choose, app.fleet, (name) => name, (name) => h("option", { value: name.peek() }, name.peek()));
  return h(
    "header",
    { class: "top" },
    h("img", { class: "logo", src: "/icon.svg", alt: "Dialtone", width: "24", height: "24" }),
    h("span", { class: "robot-name", hidden: () => app.fleet().length > 1 }, () => app.robot().name),
    h("span", { class: "fleet-box", hidden: () => app.fleet().length < 2 }, choose),
    tabs(view, "tabs top-tabs"),
    h("span", { class: "spacer" }),
    linkPill(app),
    batteryPill(app),
    h("button", {
      class: "icon-button", type: "button", title: "Settings", "aria-label": "Settings",
      "data-testid": "settings", onclick: openSettings,
    }, h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" },
      h("path", { d: "M2 4.5h7M13 4.5h1M2 11.5h1M7 11.5h7" }),
      h("circle", { cx: "11", cy: "4.5", r: "1.8" }), h("circle", { cx: "5", cy: "11.5", r: "1.8" }))),
    estopButton(app),
  );
}

function linkPill(app: App): HTMLElement {
  const trip = () => {
    const [server, robot] = [app.link.rttMs(), app.robot().rttMs()];
    return server === null ? null : Math.max(server, robot ?? 0);
  };
  const level = () => {
    const ms = trip();
    if (app.link.state() !== "up" || ms === null) return "error";
    return ms > settings.maxRttMs() ? "error" : ms > settings.maxRttMs() / 2 ? "warn" : "ok";
  };
  return h(
    "span",
    {
      class: "pill", "data-testid": "link",
      title: () => `Round trip: server ${fixed(app.link.rttMs(), 1, "ms")}, robot ${fixed(app.robot().rttMs(), 1, "ms")}`,
    },
    h("i", { class: () => `dot ${level()}` }),
    () => (app.link.state() === "up" ? fixed(trip(), 0, "ms") : "offline"),
  );
}

function batteryPill(app: App): HTMLElement {
  const share = () => app.robot().telemetry.battery()?.percentage ?? Number.NaN;
  return h(
    "span",
    { class: "pill", title: "Battery", hidden: () => !Number.isFinite(share()), "data-testid": "battery" },
    h("i", { class: () => `dot ${share() < 0.15 ? "error" : share() < 0.3 ? "warn" : "ok"}` }),
    () => fixed(share() * 100, 0, "%"),
  );
}
