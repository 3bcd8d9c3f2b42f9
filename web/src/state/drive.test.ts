import { beforeEach, expect, test } from "vitest";
import type { Velocity } from "../protocol/velocity";
import { Driver } from "./drive";
import type { Refusal } from "./guard";
import { demandOf, gamepadDemand, stick } from "./keys";

const AHEAD = { forward: 1, turn: 0 };

/** A driver whose clock and ticks the test moves. */
function rig() {
  const sent: Velocity[] = [];
  const state = { now: 1000, refusal: null as Refusal | null, up: true, tick: null as null | (() => void) };
  const driver = new Driver({
    publish: (velocity) => (state.up ? sent.push(velocity) > 0 : false),
    refusal: () => state.refusal,
    limits: () => ({ speedMps: 2, yawRps: 1 }),
    every: (_, tick) => {
      state.tick = tick;
      return () => {
        state.tick = null;
      };
    },
    now: () => state.now,
  });
  const run = (ticks: number) => {
    for (let index = 0; index < ticks; index++) {
      state.now += 50;
      state.tick?.();
    }
  };
  return { driver, sent, state, run };
}

let at: ReturnType<typeof rig>;
beforeEach(() => {
  at = rig();
});

test("a press says neutral and sends at once, holding repeats, a release sends one zero", () => {
  at.driver.hold("keys", AHEAD);
  expect(at.sent).toEqual([{ x: 0, yaw: 0 }, { x: 2, yaw: 0 }]);
  at.run(3);
  expect(at.sent).toHaveLength(5);
  at.driver.release("keys");
  at.run(5);
  expect(at.sent).toHaveLength(6);
  expect(at.sent.at(-1)).toEqual({ x: 0, yaw: 0 });
  expect(at.state.tick).toBeNull();
});

test("an idle driver sends nothing at all", () => {
  at.run(10);
  at.driver.release("keys");
  at.driver.letGo();
  at.driver.halt({ reason: "hidden", text: "" });
  expect(at.sent).toEqual([]);
});

test("a refusal while driving stops once and latches until everything is let go", () => {
  at.driver.hold("keys", AHEAD);
  at.state.refusal = { reason: "slow_link", text: "slow" };
  at.run(5);
  expect(at.sent.map(({ x }) => x)).toEqual([0, 2, 0]);
  expect(at.driver.refused()?.reason).toBe("slow_link");
  at.state.refusal = null;
  at.driver.hold("keys", { forward: 1, turn: 1 });
  at.run(5);
  expect(at.sent).toHaveLength(3);
  at.driver.release("keys");
  at.driver.hold("keys", AHEAD);
  expect(at.sent).toHaveLength(5);
});

test("a refused press sends nothing", () => {
  at.state.refusal = { reason: "no_lease", text: "" };
  at.driver.hold("stick", AHEAD);
  at.run(3);
  expect(at.sent).toEqual([]);
  expect(at.driver.refused()?.reason).toBe("no_lease");
});

test("a link that goes away stops the drive, and its return does not resume it", () => {
  at.driver.hold("keys", AHEAD);
  at.state.up = false;
  at.run(1);
  at.state.up = true;
  at.run(5);
  expect(at.sent.map(({ x }) => x)).toEqual([0, 2]);
  expect(at.driver.refused()?.reason).toBe("offline");
});

test("when the page loses its inputs it stops, and a late release sends no second zero", () => {
  at.driver.hold("keys", AHEAD);
  at.driver.letGo();
  at.driver.release("keys");
  expect(at.sent.map(({ x }) => x)).toEqual([0, 2, 0]);
});

test("two inputs add up within the limits, and one release leaves the other", () => {
  at.driver.hold("keys", AHEAD);
  at.driver.hold("stick", { forward: 0.5, turn: 0.25 });
  expect(at.sent.at(-1)).toEqual({ x: 2, yaw: 0.25 });
  at.driver.release("keys");
  expect(at.sent.at(-1)).toEqual({ x: 1, yaw: 0.25 });
  at.driver.release("stick");
  expect(at.sent.at(-1)).toEqual({ x: 0, yaw: 0 });
});

test("a stick that moves faster than the ticks sends at most each 20 ms", () => {
  at.driver.hold("stick", AHEAD);
  for (let index = 0; index < 10; index++) {
    at.state.now += 4;
    at.driver.hold("stick", { forward: 1 - index / 100, turn: 0 });
  }
  expect(at.sent.length).toBeLessThanOrEqual(4);
});

test("opposite keys cancel and two keys of one direction count once", () => {
  expect(demandOf(new Set(["KeyW", "ArrowUp", "KeyA"]))).toEqual({ forward: 1, turn: 1 });
  expect(demandOf(new Set(["KeyW", "KeyS"]))).toEqual({ forward: 0, turn: 0 });
});

test("a gamepad drives only while a shoulder button is held, and B is the e-stop", () => {
  const buttons = (...down: number[]) =>
    Array.from({ length: 17 }, (_, index) => ({ pressed: down.includes(index) }));
  const axes = [0.5, -1, 0, 0];
  expect(gamepadDemand({ axes, buttons: buttons() }).demand).toEqual({ forward: 0, turn: 0 });
  const held = gamepadDemand({ axes, buttons: buttons(5) });
  expect(held.demand.forward).toBe(1);
  expect(held.demand.turn).toBeLessThan(0);
  expect(gamepadDemand({ axes, buttons: buttons(1) }).estop).toBe(true);
  expect([stick(0.1), stick(-1), stick(Number.NaN)]).toEqual([0, -1, 0]);
});
