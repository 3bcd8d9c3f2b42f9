/** One figure over the last minute. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Series } from "../state/series";
import { onEnd } from "../state/signals";
import { color } from "./canvas";
import { h } from "./dom";

const WINDOW_S = 60;
const HEIGHT_PX = 150;
const REDRAW_MS = 100;

export function plot(series: () => Series): HTMLElement {
  const frame = h("div", { class: "plot" });
  let chart: uPlot | null = null;
  const make = () => {
    chart?.destroy();
    chart = new uPlot(options(frame.clientWidth), [[], []], frame);
  };
  const resized = new ResizeObserver(() => {
    if (frame.clientWidth === 0) return;
    if (chart === null) make();
    else chart.setSize({ width: frame.clientWidth, height: HEIGHT_PX });
  });
  resized.observe(frame);
  const timer = setInterval(() => {
    if (chart === null || document.hidden) return;
    const now = Date.now() / 1000;
    const [times, values] = series().since(now - WINDOW_S, Math.max(200, frame.clientWidth));
    chart.setData([times.map((time) => time - now), values], true);
  }, REDRAW_MS);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", make);
  onEnd(() => {
    scheme.removeEventListener("change", make);
    clearInterval(timer);
    resized.disconnect();
    chart?.destroy();
  });
  return frame;
}

function options(width: number): uPlot.Options {
  const axis = {
    stroke: color("muted"),
    grid: { stroke: color("line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  const ago = (_: uPlot, ticks: number[]) => ticks.map((tick) => (tick === 0 ? "now" : `${tick} s`));
  return {
    width,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false } },
    padding: [8, 14, 0, 0],
    scales: { x: { time: false, range: [-WINDOW_S, 0] }, y: { range: widen } },
    axes: [
      { ...axis, size: 22, incrs: [15], values: ago },
      { ...axis, size: 48, space: 28 },
    ],
    series: [{}, { stroke: color("accent"), width: 1.5, points: { show: false } }],
  };
}

/** Room above and below, so that a flat line lies in the middle. */
function widen(_: uPlot, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low + high)) return [-1, 1];
  const pad = Math.max((high - low) * 0.1, Math.abs(high) * 0.02, 0.05);
  return [low - pad, high + pad];
}
