import { expect, test } from "vitest";
import { PathChooser, type Second } from "./videopath";

const FINE: Second = { live: true, fps: 30, skipped: 0, latencyMs: 20 };
const THIN: Second = { live: true, fps: 5, skipped: 25, latencyMs: 300 };

const run = (chooser: PathChooser, second: Second, seconds: number) => {
  for (let count = 0; count < seconds; count++) chooser.second(second);
  return chooser.path;
};

test("a good link stays on JPEG, and so does a slow camera", () => {
  expect(run(new PathChooser(), FINE, 100)).toBe("jpeg");
  expect(run(new PathChooser(), { ...FINE, fps: 5 }, 100)).toBe("jpeg");
  expect(run(new PathChooser(), { ...THIN, live: false }, 100)).toBe("jpeg");
});

test("pictures that come thinned or late for five seconds in a row mean H.264", () => {
  const chooser = new PathChooser();
  run(chooser, THIN, 4);
  chooser.second(FINE);
  expect(run(chooser, THIN, 4)).toBe("jpeg");
  expect(chooser.second(THIN)).toBe("h264");
  expect(run(new PathChooser(), { ...FINE, latencyMs: 900 }, 5)).toBe("h264");
});

test("H.264 that shows nothing falls back to JPEG and is not tried again at once", () => {
  const chooser = new PathChooser();
  run(chooser, THIN, 5);
  expect(run(chooser, { ...FINE, live: false, fps: 0 }, 8)).toBe("jpeg");
  expect(run(chooser, THIN, 50)).toBe("jpeg");
  expect(run(chooser, THIN, 20)).toBe("h264");
});
