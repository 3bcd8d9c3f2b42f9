/** A camera's picture with its figures on top. */

import { AutoFeed } from "../connection/autofeed";
import { type Drawable, type Feed, NatsFeed } from "../connection/videofeed";
import type { App } from "../state/app";
import type { Robot } from "../state/robot";
import { settings } from "../state/settings";
import { onEnd } from "../state/signals";
import { h } from "./dom";

export function videoTile(app: App, robot: Robot, camera: string): HTMLElement {
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": `Camera ${camera}` });
  const context = canvas.getContext("2d", { alpha: false, desynchronized: true });
  let frames = 0;
  const onPicture = (picture: Drawable, width: number, height: number) => {
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context?.drawImage(picture, 0, 0);
    canvas.dataset["frames"] = String(++frames);
  };
  const feed: Feed = app.isHome(robot)
    ? new AutoFeed(camera, onPicture, settings.video)
    : new NatsFeed(robot.link, robot.name, camera, onPicture);
  onEnd(() => feed.close());
  const { figures } = feed;
  const tile: HTMLElement = h(
    "figure",
    { class: () => `tile ${figures.state()}`, "data-testid": `video-${camera}` },
    canvas,
    h(
      "figcaption",
      { class: "overlay" },
      h("b", {}, camera),
      h("span", {}, () => `${figures.fps()} fps`),
      h("span", { title: "From the camera's stamp until it is drawn here" }, () => {
        const latency = figures.latencyMs();
        return latency === null ? "– ms" : `${latency.toFixed(0)} ms`;
      }),
      h("span", { class: "wide-only" }, () => `${figures.size()} ${figures.path()}`),
    ),
    h("p", { class: "tile-note", hidden: () => figures.state() === "live" }, () =>
      figures.state() === "lost" ? "Picture lost, trying again" : "Waiting for pictures",
    ),
    h(
      "button",
      {
        class: "icon-button full",
        type: "button",
        title: "Full screen (double click)",
        "aria-label": `Show camera ${camera} full screen`,
        onclick: () => toggleFull(tile),
      },
      h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" },
        h("path", { d: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4" })),
    ),
  );
  tile.addEventListener("dblclick", () => toggleFull(tile));
  return tile;
}

function toggleFull(tile: HTMLElement): void {
  // The whole view goes, because the pad and the e-stop belong to the picture.
  const view = (tile.closest(".drive") ?? tile) as HTMLElement;
  if (document.fullscreenElement) void document.exitFullscreen();
  else void view.requestFullscreen?.().catch(() => {});
}
