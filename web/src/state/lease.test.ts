import { expect, test } from "vitest";
import type { Reply } from "../connection/link";
import { Lease } from "./lease";

const ME = "ada/3f2a";
const holder = (operator: string) => ({ operator, role: "operator", expires_in_s: 2 });

function rig(answer: (verb: string) => Reply | Promise<Reply>) {
  const state = { now: 0, tick: null as null | (() => void), asked: [] as string[] };
  const lease = new Lease(ME, {
    ask: async (verb) => {
      state.asked.push(verb);
      return await answer(verb);
    },
    every: (_, tick) => {
      state.tick = tick;
      return () => {
        state.tick = null;
      };
    },
    now: () => state.now,
  });
  return { lease, state };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

test("a granted lease is ours, is renewed, and is let go on release", async () => {
  const { lease, state } = rig(() => ({ ok: true, holder: holder(ME), ttl_s: 2 }));
  expect(await lease.take()).toBe(true);
  state.now = 1900;
  state.tick?.();
  await settled();
  state.now = 3000;
  expect(lease.check()).toBe(true);
  await lease.release();
  expect([lease.mine(), state.tick]).toEqual([false, null]);
  expect(state.asked).toEqual(["acquire", "renew", "release"]);
});

test("a refused lease names its holder", async () => {
  const { lease } = rig(() => ({ ok: false, error: "held by eve/77aa", holder: holder("eve/77aa") }));
  expect(await lease.take()).toBe(false);
  expect(lease.holder()?.operator).toBe("eve/77aa");
  expect(lease.note()).toContain("eve/77aa");
});

test("without an answer the lease ends by our own clock, before the robot's", async () => {
  let quiet = false;
  const { lease, state } = rig((): Reply | Promise<Reply> =>
    quiet ? new Promise(() => {}) : { ok: true, holder: holder(ME), ttl_s: 2 });
  await lease.take();
  quiet = true;
  state.tick?.();
  state.now = 1999;
  expect(lease.check()).toBe(true);
  state.now = 2000;
  expect(lease.check()).toBe(false);
  expect(lease.note()).toContain("lost");
});

test("a takeover that an event tells of ends our lease and says by whom", async () => {
  const { lease } = rig(() => ({ ok: true, holder: holder(ME), ttl_s: 2 }));
  await lease.take();
  lease.see(holder("root/1"));
  expect(lease.mine()).toBe(false);
  expect(lease.note()).toBe("root/1 took control");
});

test("a renewal that arrives after the release does not revive the lease", async () => {
  let resolve: (reply: Reply) => void = () => {};
  const { lease, state } = rig((verb): Reply | Promise<Reply> =>
    verb === "renew"
      ? new Promise<Reply>((done) => { resolve = done; })
      : { ok: true, holder: holder(ME), ttl_s: 2 });
  await lease.take();
  state.tick?.();
  await lease.release();
  resolve({ ok: true, holder: holder(ME), ttl_s: 2 });
  await settled();
  expect(lease.mine()).toBe(false);
});
