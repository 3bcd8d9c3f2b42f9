/** Any figure that the robot publishes, over the last minute. */

import type { App } from "../state/app";
import { settings } from "../state/settings";
import { paint, untracked } from "../state/signals";
import { h } from "../widgets/dom";
import { keyed } from "../widgets/list";
import { plot } from "../widgets/plot";
import { fixed } from "./format";

const MOST = 12;

export function plotsView(app: App): HTMLElement {
  const choices = h("datalist", { id: "figures" });
  paint(() => {
    const figures = app.robot().telemetry.figures();
    choices.replaceChildren(...figures.map((name) => h("option", { value: name })));
  });
  const input = h("input", {
    list: "figures", placeholder: "Add a figure, such as odom:twist.twist.linear.x",
    "aria-label": "Figure to plot", "data-testid": "plot-input", autocapitalize: "none",
    spellcheck: "false",
  });
  const add = (event: Event) => {
    event.preventDefault();
    const figure = input.value.trim();
    const shown = settings.plots.peek();
    if (!/^[^:\s]+:\S.*$/.test(figure) || shown.includes(figure)) return;
    if (shown.length >= MOST) {
      app.say(`At most ${MOST} plots`, "error");
      return;
    }
    settings.plots.set([...shown, figure]);
    input.value = "";
  };
  return h(
    "main",
    { class: "page", "data-testid": "plots" },
    h("form", { class: "bar-form", onsubmit: add }, input, choices,
      h("button", { class: "button", type: "submit" }, "Add plot")),
    keyed(h("div", { class: "plots" }), settings.plots, (name) => name, (name) =>
      plotCard(app, untracked(name))),
  );
}

function plotCard(app: App, figure: string): Element {
  const telemetry = () => app.robot().telemetry;
  const [topic, path] = [figure.slice(0, figure.indexOf(":")), figure.slice(figure.indexOf(":") + 1)];
  const last = h("output", { class: "plot-value" });
  paint(() => {
    // Any of these may be what moves the figure; they are what is cheap to follow.
    const t = telemetry();
    t.odom();
    t.diagnostics();
    last.textContent = fixed(t.want(figure).last, 3);
  });
  const remove = () => {
    settings.plots.set(settings.plots.peek().filter((name) => name !== figure));
    untracked(telemetry).forget(figure);
  };
  return h(
    "section",
    { class: "card plot-card", "aria-label": figure },
    h("header", {},
      h("span", { class: "plot-name", title: figure }, h("b", {}, topic), ` ${path}`),
      last,
      h("button", { class: "icon-button", type: "button", "aria-label": `Remove ${figure}`, onclick: remove }, "×")),
    plot(() => untracked(telemetry).want(figure)),
  );
}
