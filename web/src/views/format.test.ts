import { expect, test } from "vitest";
import { bytes, duration, fixed, words } from "./format";

test("numbers are written as people read them", () => {
  expect([fixed(1.256, 2, "m/s"), fixed(-0.001, 2), fixed(Number.NaN, 1), fixed(null, 1)]).toEqual([
    "1.26\u00a0m/s", "0.00", "–", "–",
  ]);
  expect([bytes(999), bytes(1500), bytes(2.5e9), bytes(undefined)]).toEqual([
    "999\u00a0B", "1.5\u00a0kB", "2.5\u00a0GB", "–",
  ]);
  expect([duration(42), duration(187), duration(7509), duration(270_000)]).toEqual([
    "42\u00a0s", "3:07", "2:05:09", "3\u00a0d 3\u00a0h",
  ]);
  expect(words("limit_vx")).toBe("Limit vx");
});
