/** How the robot is: diagnostics, host, processes, routes, logs, events. */

import { api, type Logs, type Metrics, type Operators } from "../connection/api";
import { serviceSubject } from "../protocol/subjects";
import type { App } from "../state/app";
import { onEnd, type Signal, signal } from "../state/signals";
import type { Diagnosis } from "../state/telemetry";
import { h } from "../widgets/dom";
import { keyed } from "../widgets/list";
import { bytes, clock, duration, fixed } from "./format";

const MOST_PROCESSES = 12;
const LEVELS = ["ok", "warn", "error", "stale"] as const;

export function healthView(app: App): HTMLElement {
  return h(
    "main",
    { class: "page health", "data-testid": "health" },
    diagnosticsCard(app),
    h("div", { class: "column" }, hostCard(app), operatorsCard(app), eventsCard(app)),
    routesCard(app),
    logsCard(app),
  );
}

/** Call `load` now and each `periodMs` while the view is shown and the page visible. */
function refresh(periodMs: number, load: () => Promise<void>): void {
  let busy = false;
  const go = () => {
    if (busy || document.hidden) return;
    busy = true;
    load().catch(() => {}).finally(() => {
      busy = false;
    });
  };
  const timer = setInterval(go, periodMs);
  onEnd(() => clearInterval(timer));
  go();
}

function levelOf(part: Diagnosis): (typeof LEVELS)[number] {
  return part.stale ? "stale" : (LEVELS[part.level] ?? "stale");
}

function diagnosticsCard(app: App): HTMLElement {
  const rows = keyed(
    h("div", { class: "rows" }),
    () => app.robot().telemetry.diagnostics(),
    (part) => part.name,
    (part) => h(
      "details",
      { class: () => `diagnosis ${levelOf(part())}` },
      h("summary", {}, h("i", { class: () => `dot ${levelOf(part())}`, title: () => levelOf(part()) }),
        h("b", {}, () => part().name), h("span", {}, () => part().message)),
      h("dl", { class: "values" }, () => valuesOf(part())),
    ),
  );
  return h("section", { class: "card" }, h("h2", {}, "Diagnostics"), rows,
    h("p", { class: "muted", hidden: () => app.robot().telemetry.diagnostics().length > 0 },
      "Nothing reported yet"));
}

function valuesOf(part: Diagnosis): Node {
  return h("div", {}, part.values.map(({ key, value }) =>
    h("div", { class: "pair" }, h("dt", {}, key), h("dd", {}, value))));
}

function hostCard(app: App): HTMLElement {
  const metrics = signal<Metrics | null>(null);
  refresh(2000, async () => metrics.set(await api<Metrics>("/api/v1/metrics")));
  const processes = () => [...(metrics()?.processes ?? [])].sort((a, b) => b.cpu_percent - a.cpu_percent)
    .slice(0, MOST_PROCESSES);
  const figures = () => hostFigures(metrics());
  return h(
    "section",
    { class: "card", hidden: () => !app.isHome(app.robot()) },
    h("h2", {}, "Host"),
    keyed(h("dl", { class: "figures" }), figures, ([label]) => label, (pair) =>
      h("div", { class: "figure" }, h("dt", {}, () => pair()[0]), h("dd", {}, () => pair()[1]))),
    h("table", { class: "table", hidden: () => processes().length === 0 },
      h("thead", {}, h("tr", {}, h("th", {}, "Process"), h("th", { class: "n" }, "CPU"), h("th", { class: "n" }, "Memory"))),
      keyed(h("tbody"), processes, ({ name }) => name, (each) => h("tr", {},
        h("td", {}, () => each().name),
        h("td", { class: "n" }, () => fixed(each().cpu_percent, 1, "%")),
        h("td", { class: "n" }, () => fixed(each().rss_mb, 0, "MB"))))),
  );
}

/** What the gateway says of the host, named and in units where the key tells them. */
function hostFigures(metrics: Metrics | null): [string, string][] {
  if (metrics === null) return [];
  const found: [string, string][] = [];
  const add = (key: string, value: unknown) => {
    if (typeof value !== "number" && typeof value !== "string") return;
    const [label, text] = readable(key, value);
    found.push([label, text]);
  };
  add("connections", metrics.connections);
  add("throughput_bytes_s", metrics.throughput_bytes_s);
  for (const [key, value] of Object.entries(metrics)) {
    if (!["host", "processes", "connections", "throughput_bytes_s"].includes(key)) add(key, value);
  }
  for (const [part, value] of Object.entries(metrics.host ?? {})) {
    if (typeof value === "object" && value !== null) found.push(partOf(part, value));
    else add(part, value);
  }
  return found.slice(0, 18);
}

/** A part of the host (`cpu`, `disk`) by its share, or by its own words where it has none. */
function partOf(part: string, values: Record<string, unknown>): [string, string] {
  const name = part === "cpu" ? "CPU" : part.charAt(0).toUpperCase() + part.slice(1);
  const { percent, message } = values;
  return [name, typeof percent === "number" ? fixed(percent, 0, "%") : String(message ?? "–")];
}

function readable(key: string, value: number | string): [string, string] {
  const name = (suffix: RegExp) => {
    const text = key.replace(suffix, "").replaceAll("_", " ");
    return text.charAt(0).toUpperCase() + text.slice(1);
  };
  if (typeof value === "string") return [name(/$/), value];
  if (/_percent$/.test(key)) return [name(/_percent$/), fixed(value, 0, "%")];
  if (/_bytes_(per_)?s$/.test(key)) return [name(/_bytes_(per_)?s$/), `${bytes(value)}/s`];
  if (/_bytes$/.test(key)) return [name(/_bytes$/), bytes(value)];
  if (/_mb$/.test(key)) return [name(/_mb$/), bytes(value * 1e6)];
  if (/_gb$/.test(key)) return [name(/_gb$/), bytes(value * 1e9)];
  if (/_s$/.test(key)) return [name(/_s$/), duration(value)];
  if (/_c$/.test(key)) return [name(/_c$/), fixed(value, 0, "°C")];
  return [name(/$/), Number.isInteger(value) ? String(value) : fixed(value, 2)];
}

function operatorsCard(app: App): HTMLElement {
  const operators = signal<Operators | null>(null);
  refresh(3000, async () => operators.set(await api<Operators>("/api/v1/operators")));
  const holder = () => app.robot().lease.holder()?.operator ?? "";
  return h(
    "section",
    { class: "card", hidden: () => (operators()?.connected.length ?? 0) === 0 },
    h("h2", {}, "On the line"),
    keyed(h("ul", { class: "plain" }), () => operators()?.connected ?? [],
      (each) => `${each.user}/${each.session}`,
      (each) => h("li", {}, h("b", {}, () => `${each().user}/${each().session}`), " ",
        h("span", { class: "muted" }, () => each().role),
        h("span", { class: "chip ok", hidden: () => holder() !== `${each().user}/${each().session}` },
          "has control"))),
  );
}

function eventsCard(app: App): HTMLElement {
  return h(
    "section",
    { class: "card", hidden: () => app.robot().events().length === 0 },
    h("h2", {}, "Events"),
    h("ul", { class: "plain events" }, () => h("div", {}, app.robot().events().slice(0, 12).map((event) =>
      h("li", {}, h("time", {}, clock(event.at)), h("b", {}, event.name), h("span", {}, event.text))))),
  );
}

interface Route {
  topic: string; type: string; encoding: string; priority: string; subscribed: boolean;
  rate_hz: number; bytes_per_s: number; age_s: number | null;
  transports?: Record<string, { dropped?: number }>;
}

function routesCard(app: App): HTMLElement {
  const rows: Signal<readonly Route[]> = signal<readonly Route[]>([]);
  const problem = signal("");
  refresh(2000, async () => {
    const robot = app.robot.peek();
    const reply = await robot.link.request(serviceSubject(robot.name, "bridge", "routes"), {});
    problem.set(reply.ok ? "" : (reply.error ?? ""));
    rows.set(Array.isArray(reply["routes"]) ? (reply["routes"] as Route[]) : []);
  });
  const dropped = (route: Route) =>
    Object.values(route.transports ?? {}).reduce((sum, { dropped: n }) => sum + (n ?? 0), 0);
  return h(
    "section",
    { class: "card wide-card" },
    h("h2", {}, "Routes"),
    h("p", { class: "muted", hidden: () => rows().length > 0 }, () => problem() || "No routes yet"),
    h("div", { class: "scroller", hidden: () => rows().length === 0, tabindex: "0" }, h("table", { class: "table" },
      h("thead", {}, h("tr", {}, h("th", {}, "Topic"), h("th", {}, "As"), h("th", {}, "Priority"),
        h("th", { class: "n" }, "Hz"), h("th", { class: "n" }, "Rate"), h("th", { class: "n" }, "Age"),
        h("th", { class: "n" }, "Dropped"))),
      keyed(h("tbody"), rows, (route) => `${route.topic} ${route.type}`, (route) => h("tr", {},
        h("td", { title: () => route().type }, () => route().topic),
        h("td", {}, () => route().encoding),
        h("td", {}, () => route().priority),
        h("td", { class: "n" }, () => (route().subscribed ? fixed(route().rate_hz, 1) : "–")),
        h("td", { class: "n" }, () => (route().subscribed ? `${bytes(route().bytes_per_s)}/s` : "–")),
        h("td", { class: "n" }, () => fixed(route().age_s, 1, "s")),
        h("td", { class: "n" }, () => String(dropped(route()))))))),
  );
}

function logsCard(app: App): HTMLElement {
  const logs = signal<Logs>({ names: [], lines: [] });
  const name = signal("");
  const view = h("pre", { class: "log", tabindex: "0", "aria-label": "Log", "data-testid": "log" });
  if (app.role === "viewer") return h("section", { class: "card", hidden: true });
  refresh(2000, async () => {
    const next = await api<Logs>(`/api/v1/logs?name=${encodeURIComponent(name.peek())}&lines=200`);
    logs.set(next);
    if (!name.peek() && next.names[0]) name.set(next.names[0]);
    const follow = view.scrollTop + view.clientHeight >= view.scrollHeight - 8;
    view.textContent = next.lines.join("\n");
    if (follow) view.scrollTop = view.scrollHeight;
  });
  const choose = h("select", {
    "aria-label": "Process", value: name,
    onchange: (event) => name.set((event.target as HTMLSelectElement).value),
  });
  keyed(choose, () => logs().names, (each) => each, (each) =>
    h("option", { value: each.peek(), selected: each.peek() === name.peek() }, each.peek()));
  return h("section", { class: "card wide-card", hidden: () => !app.isHome(app.robot()) },
    h("header", { class: "card-head" }, h("h2", {}, "Log"), choose), view);
}
