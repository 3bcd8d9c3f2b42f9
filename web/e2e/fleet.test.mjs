/**
 * A page that shows another robot than its gateway's own: DIALTONE_OTHER, known to the same server.
 * The mock has a second robot, `scout`, that has no pictures.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  arm, atRest, drive, openBrowser, openPage, openSite, readNumber, ready, shot, signIn,
  STOPS_WITHIN_MS, takeControl, until,
} from "./lib.mjs";

const OTHER = process.env.DIALTONE_OTHER ?? "scout";
let site;
let browser;
let page;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  site?.close();
});

test("another robot of the fleet is watched, driven and left again", {
  skip: !process.env.DIALTONE_OTHER && process.env.DIALTONE_URL && "one robot only",
}, async () => {
  page = await openPage(browser);
  await signIn(page, site);
  await ready(page);
  const home = await page.getByTestId("fleet").inputValue();
  await page.getByTestId("fleet").locator(`option[value=${OTHER}]`).waitFor({ state: "attached" });
  await page.getByTestId("fleet").selectOption(OTHER);
  const speed = async () => Math.abs(await readNumber(page, "speed"));
  await until("the other robot tells its speed", async () => Number.isFinite(await speed()));
  if (!site.mock) {
    const tile = page.locator("[data-testid^=video-]").first();
    const frames = async () => Number(await tile.locator("canvas").getAttribute("data-frames"));
    await until("its pictures come", async () => (await frames()) > 5);
    assert.match(await tile.textContent(), /NATS/);
  }
  await takeControl(page);
  await arm(page);
  await drive(page);
  await shot(page, "fleet");
  await page.keyboard.up("KeyW");
  await atRest(page, STOPS_WITHIN_MS);
  await page.getByTestId("fleet").selectOption(home);
  await ready(page);
  assert.equal(await page.getByText("You have control").count(), 0);
  assert.deepEqual(page.problems, []);
});
