/** Record, label, find again. */

import { api, type Episode } from "../connection/api";
import type { App } from "../state/app";
import { settings } from "../state/settings";
import { onEnd, paint, signal } from "../state/signals";
import { h } from "../widgets/dom";
import { keyed } from "../widgets/list";
import { bytes, duration, when } from "./format";

const LEVELS = ["ok", "warn", "error", "stale"] as const;

export function episodesView(app: App): HTMLElement {
  const episodes = signal<readonly Episode[] | null>(null);
  const load = async () => {
    try {
      episodes.set(await api<Episode[]>("/api/v1/episodes"));
    } catch (error) {
      if (episodes.peek() === null) app.say(`Episodes: ${(error as Error).message}`, "error");
    }
  };
  const timer = setInterval(() => void load(), 5000);
  onEnd(() => clearInterval(timer));
  void load();
  return h(
    "main",
    { class: "page episodes", "data-testid": "episodes" },
    recordCard(app, load),
    listCard(app, episodes),
  );
}

function recordCard(app: App, reload: () => Promise<void>): HTMLElement {
  const recorder = () => app.robot().recorder();
  const recording = () => recorder()?.recording === true;
  const began = signal<number | null>(null);
  const clock = signal(0);
  const busy = signal(false);
  const timer = setInterval(() => {
    if (!recording()) began.set(null);
    else if (began.peek() === null) began.set(performance.now());
    clock.set(performance.now());
  }, 500);
  onEnd(() => clearInterval(timer));
  const call = async (verb: string, body: object) => {
    busy.set(true);
    const reply = await app.robot.peek().record(verb, body);
    busy.set(false);
    if (!reply.ok) app.say(reply.error ?? "The recorder refused", "error");
    return reply;
  };
  const start = async () => {
    const reply = await call("start", { task: settings.task.peek(), operator: app.operator });
    if (reply.ok) began.set(performance.now());
  };
  const end = async (verb: "stop" | "discard", outcome = "") => {
    const reply = await call(verb, outcome ? { outcome } : {});
    if (!reply.ok) return;
    app.say(verb === "discard" ? "Discarded" : `Saved ${String(reply["episode"] ?? "")}`);
    await reload();
  };
  const ending = (name: string, text: string, kind: string, run: () => Promise<void>) =>
    h("button", {
      class: `button ${kind}`, type: "button", disabled: busy, "data-testid": `end-${name}`,
      onclick: () => void run(),
    }, text);
  return h(
    "section",
    { class: "card record", hidden: () => app.role === "viewer" },
    h("label", { class: "grow" }, h("span", {}, "Task"), h("input", {
      value: settings.task.peek(), maxlength: "200", placeholder: "What this episode shows",
      "data-testid": "task", disabled: recording,
      oninput: (event) => settings.task.set((event.target as HTMLInputElement).value),
    })),
    h("button", {
      class: "button primary record-button", type: "button", hidden: recording,
      "data-testid": "record", disabled: () => busy() || recorder() === null,
      onclick: () => void start(),
    }, "Start recording"),
    h("div", { class: "outcome", role: "group", "aria-label": "End the episode", hidden: () => !recording() },
      ending("success", "Stop: success", "good", () => end("stop", "success")),
      ending("fail", "Stop: fail", "bad", () => end("stop", "fail")),
      ending("stop", "Stop", "", () => end("stop")),
      ending("discard", "Discard", "", () => end("discard"))),
    h("p", {
      class: () => `record-state ${recording() ? "on" : ""}`, role: "status",
      "data-testid": "record-state",
    }, () => {
      const state = recorder();
      if (state === null) return "The recorder does not answer";
      if (!state.recording) return "Not recording";
      const start = began();
      const length = start === null ? "" : `${duration((clock() - start) / 1000)} · `;
      return `${length}${state.messages} messages · ${state.lost} lost`;
    }),
    gateLights(app),
  );
}

/** What the recorder says of each topic it watches. */
function gateLights(app: App): HTMLElement {
  const parts = () => app.robot().telemetry.diagnostics().filter(({ name }) => name.startsWith("recorder"));
  return keyed(h("div", { class: "gate", "aria-label": "Gate", "data-testid": "gate" }), parts,
    ({ name }) => name,
    (part) => h("span", { class: "chip", title: () => part().message },
      h("i", { class: () => `dot ${part().stale ? "stale" : (LEVELS[part().level] ?? "stale")}` }),
      () => part().name.replace(/^recorder:\s*/, "")));
}

function listCard(app: App, episodes: () => readonly Episode[] | null): HTMLElement {
  const path = (each: Episode) => `/api/v1/episodes/${encodeURIComponent(each.name)}`;
  const newest = () => [...(episodes() ?? [])].sort((a, b) => (b.started_at_s ?? 0) - (a.started_at_s ?? 0));
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Episodes"),
    h("p", { class: "muted", hidden: () => newest().length > 0 }, () =>
      episodes() === null ? "Loading…" : "Nothing recorded yet"),
    h("p", { class: "muted", hidden: () => app.isHome(app.robot()) },
      "These are the episodes of this gateway's own robot"),
    keyed(h("ul", { class: "plain episode-list" }), newest, ({ name }) => name, (each) => h(
      "li",
      { class: "episode", "data-testid": "episode" },
      preview(`${path(each.peek())}/preview.jpg`),
      h("div", { class: "episode-text" },
        h("b", {}, () => each().task || each().name),
        h("span", { class: "muted" }, () => [
          when(each().started_at_s), duration(each().duration_s), bytes(each().bytes),
        ].join(" · "))),
      outcome(app, each, path),
      h("span", { class: () => `chip ${gateClass(gateOf(each()))}`, hidden: () => !gateOf(each()) },
        () => `gate ${gateOf(each())}`),
      h("span", { class: "chip warn", hidden: () => !each().recovered }, "recovered"),
      h("a", { class: "button small", href: `${path(each.peek())}/download`, download: "" }, "Download"),
    )),
  );
}

/** What became of it; who records may change it later. */
function outcome(app: App, each: () => Episode, path: (each: Episode) => string): HTMLElement {
  if (app.role === "viewer") {
    return h("span", { class: () => `chip ${outcomeClass(each().outcome)}` }, () => each().outcome || "unlabelled");
  }
  const choose = async (select: HTMLSelectElement) => {
    try {
      await api(`${path(each())}/labels`, { outcome: select.value });
    } catch (error) {
      select.value = each().outcome ?? "";
      app.say(`Not labelled: ${(error as Error).message}`, "error");
    }
  };
  const option = (value: string, text: string) => h("option", { value }, text);
  const select = h("select", {
    class: () => `outcome-choice ${outcomeClass(each().outcome)}`, "aria-label": "Outcome",
    "data-testid": "episode-outcome",
    onchange: (event) => void choose(event.target as HTMLSelectElement),
  }, option("", "unlabelled"), option("success", "success"), option("fail", "fail"));
  paint(() => {
    select.value = each().outcome ?? "";
  });
  return select;
}

function preview(address: string): HTMLElement {
  const picture = h("img", { class: "preview", src: address, alt: "", loading: "lazy", width: "80", height: "60" });
  picture.addEventListener("error", () => picture.classList.add("missing"));
  return picture;
}

function gateOf(episode: Episode): string {
  const gate = episode.gate;
  return typeof gate === "object" && gate !== null ? (gate.level ?? gate.verdict ?? "") : (gate ?? "");
}

function gateClass(gate: string): string {
  return { green: "ok", yellow: "warn", red: "error" }[gate] ?? "";
}

function outcomeClass(outcome: string | undefined): string {
  return { success: "ok", fail: "error" }[outcome ?? ""] ?? "";
}
