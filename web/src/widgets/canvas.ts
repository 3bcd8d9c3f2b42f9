/** Canvases that draw in frames, at the device's resolution, in the page's own colours. */

import { onEnd } from "../state/signals";
import { h } from "./dom";

export type Draw = (context: CanvasRenderingContext2D, width: number, height: number) => void;

/** A canvas that calls `draw` at most `fps` times a second while it is in the document. */
export function drawing(className: string, label: string, fps: number, draw: Draw): HTMLElement {
  const canvas = h("canvas", { class: className, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  let last = 0;
  let frame = 0;
  const loop = (now: number) => {
    frame = requestAnimationFrame(loop);
    if (context === null || now - last < 1000 / fps || !canvas.isConnected) return;
    last = now;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = Math.min(devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    draw(context, width, height);
  };
  frame = requestAnimationFrame(loop);
  onEnd(() => cancelAnimationFrame(frame));
  return canvas;
}

const probe = document.createElement("i");
probe.className = "probe";

/** A colour of the current theme, by its custom property, as the canvas understands it. */
export function color(name: string): string {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
