import { expect, test } from "vitest";
import { ClockOffset, Rate, Recent } from "../connection/stats";
import { refusalOf, type Situation } from "./guard";
import { Series } from "./series";
import { computed, scope, signal, watch } from "./signals";

const FINE: Situation = {
  connected: true, role: "operator", visible: true, rttMs: 20, robotRttMs: 30, silenceMs: 0,
  backlogBytes: 0, maxRttMs: 400, estop: false, lease: "mine", holder: "",
};

test("a sound situation is not refused", () => {
  expect(refusalOf(FINE)).toBeNull();
  expect(refusalOf({ ...FINE, lease: "waived" })).toBeNull();
});

test.each([
  ["viewer", { role: "viewer" }],
  ["offline", { connected: false }],
  ["hidden", { visible: false }],
  ["no_status", { estop: null }],
  ["estop", { estop: true }],
  ["held", { lease: "theirs", holder: "eve/77aa" }],
  ["no_lease", { lease: "free" }],
  ["unmeasured", { rttMs: null }],
  ["slow_link", { rttMs: 401 }],
  ["slow_link", { robotRttMs: 900 }],
  ["silent_link", { silenceMs: 401 }],
  ["stalled", { backlogBytes: 5000 }],
] as const)("driving is refused as %s by %o", (reason, change) => {
  const refusal = refusalOf({ ...FINE, ...change });
  expect(refusal?.reason).toBe(reason);
  expect(refusal?.text).not.toBe("");
});

test("a watcher runs on change only, and no more after its scope's end", () => {
  const value = signal(1);
  const seen: number[] = [];
  const [, end] = scope(() => {
    const double = computed(() => value() * 2);
    watch(() => void seen.push(double()));
  });
  value.set(1);
  value.set(2);
  end();
  value.set(3);
  expect(seen).toEqual([2, 4]);
});

test("a watcher forgets what it no longer reads", () => {
  const which = signal(true);
  const [a, b] = [signal(0), signal(0)];
  let runs = 0;
  watch(() => {
    runs++;
    if (which()) a();
    else b();
  });
  which.set(false);
  a.set(1);
  expect(runs).toBe(2);
});

test("a series keeps the newest and thins evenly", () => {
  const series = new Series(4);
  for (let index = 0; index < 6; index++) series.add(index, index * 10);
  expect(series.since(0, 100)).toEqual([[2, 3, 4, 5], [20, 30, 40, 50]]);
  expect(series.since(4, 100)[0]).toEqual([4, 5]);
  expect(series.since(0, 2)[0]).toEqual([2, 4]);
  expect(series.last).toBe(50);
});

test("the quickest exchange decides the clock offset", () => {
  const offset = new ClockOffset();
  expect(offset.offsetMs).toBeNull();
  offset.add(0, 1200, 400);
  offset.add(1000, 2005, 1010);
  offset.add(2000, 3900, 2400);
  expect(offset.offsetMs).toBe(1000);
});

test("quantiles and rates of few values are what they are", () => {
  const recent = new Recent(3);
  expect(recent.quantile(0.5)).toBeNull();
  [9, 1, 2, 3].forEach((value) => recent.add(value));
  expect([recent.quantile(0.5), recent.quantile(1)]).toEqual([2, 3]);
  const rate = new Rate();
  for (let at = 0; at <= 1000; at += 100) rate.add(at);
  expect(rate.perSecond(1000)).toBeCloseTo(10);
  expect(rate.perSecond(9000)).toBe(0);
});
