/** A stick for finger or mouse. It is let go when the pointer is lifted, cancelled or lost. */

import type { Demand } from "../state/drive";
import { stick } from "../state/keys";
import { paint } from "../state/signals";
import { h } from "./dom";

export interface StickTarget {
  hold(source: string, demand: Demand): void;
  release(source: string): void;
}

/** The knob travels this share of the pad's radius. */
const TRAVEL = 0.62;
const SOURCE = "stick";

/** `shown` is what other inputs ask for; the knob follows it while no pointer holds the stick. */
export function joystick(target: () => StickTarget, shown: () => Demand): HTMLElement {
  const knob = h("div", { class: "stick-knob" });
  const pad = h(
    "div",
    {
      class: "stick",
      role: "application",
      "aria-label": "Drive pad: drag to drive, let go to stop. Keys W A S D do the same.",
      "data-testid": "stick",
    },
    h("div", { class: "stick-cross" }),
    knob,
  );
  let pointer: number | null = null;

  const place = (x: number, y: number) => {
    const radius = (pad.clientWidth / 2) * TRAVEL;
    knob.style.transform = x || y ? `translate(${x * radius}px, ${y * radius}px)` : "";
  };
  paint(() => {
    const { forward, turn } = shown();
    const size = Math.max(1, Math.hypot(forward, turn));
    if (pointer === null) place(-turn / size, -forward / size);
  });
  const move = (event: PointerEvent) => {
    const box = pad.getBoundingClientRect();
    const radius = (box.width / 2) * TRAVEL;
    let x = (event.clientX - box.left - box.width / 2) / radius;
    let y = (event.clientY - box.top - box.height / 2) / radius;
    const size = Math.hypot(x, y);
    if (size > 1) [x, y] = [x / size, y / size];
    place(x, y);
    target().hold(SOURCE, { forward: -stick(y) + 0, turn: -stick(x) + 0 });
  };
  const end = (event: PointerEvent) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    place(0, 0);
    pad.classList.remove("held");
    target().release(SOURCE);
  };
  pad.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault();
    pointer = event.pointerId;
    pad.setPointerCapture(pointer);
    pad.classList.add("held");
    move(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.pointerId === pointer) move(event);
  });
  pad.addEventListener("pointerup", end);
  pad.addEventListener("pointercancel", end);
  pad.addEventListener("lostpointercapture", end);
  pad.addEventListener("contextmenu", (event) => event.preventDefault());
  return pad;
}
