/** Recording from the page, and what else it shows. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { more, openBrowser, openPage, openSite, ready, shot, signIn, until } from "./lib.mjs";

let site;
let browser;
let page;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
  page = await openPage(browser);
  await signIn(page, site);
  await ready(page);
});
after(async () => {
  await browser?.close();
  site?.close();
});

test("an episode is recorded, labelled, and found in the list", async () => {
  const task = `Browser run ${Date.now() % 1e6}`;
  await page.locator("[data-testid=tab-episodes]:visible").click();
  await page.getByTestId("task").fill(task);
  await page.getByTestId("record").click();
  await page.getByTestId("end-success").waitFor();
  await until("messages are counted", async () =>
    /[1-9]\d* messages/.test(await page.getByTestId("record-state").textContent()));
  await page.getByTestId("end-success").click();
  const row = page.getByTestId("episode").filter({ hasText: task });
  await row.waitFor({ timeout: 15_000 });
  const outcome = row.getByTestId("episode-outcome");
  assert.equal(await outcome.inputValue(), "success");
  await outcome.selectOption("fail");
  await page.reload();
  await row.waitFor();
  await until("the new label is kept", async () => (await outcome.inputValue()) === "fail");
  await shot(page, "episodes");
});

more("a figure can be plotted, is kept over a reload, and taken away", async () => {
  await page.locator("[data-testid=tab-plots]:visible").click();
  const figure = "odom:pose.pose.position.x";
  await page.getByTestId("plot-input").fill(figure);
  await page.keyboard.press("Enter");
  const card = page.getByRole("region", { name: figure });
  await card.locator("canvas").waitFor();
  await until("it has a value", async () => /\d/.test(await card.locator("output").textContent()));
  await page.reload();
  await card.locator("canvas").waitFor();
  await shot(page, "plots");
  await card.getByRole("button").click();
  await card.waitFor({ state: "detached" });
});

more("diagnostics, host figures and routes are shown", async () => {
  await page.locator("[data-testid=tab-health]:visible").click();
  const health = page.getByTestId("health");
  await health.locator("details").first().waitFor();
  await health.locator("details summary").first().press("Enter");
  await until("routes come", async () => (await health.locator("table tbody tr").count()) > 2);
  await shot(page, "health");
});

more("the page asks nobody but its own gateway, and breaks no content policy", async () => {
  const asked = [];
  const other = await openPage(browser);
  other.on("request", (request) => asked.push(new URL(request.url()).host));
  await signIn(other, site);
  await other.waitForTimeout(1000);
  const own = new URL(site.url).host;
  assert.deepEqual(asked.filter((host) => host !== own), []);
  assert.deepEqual([...page.problems, ...other.problems], []);
  await other.context().close();
});

more("everything on the drive view is reached with the Tab key", async () => {
  const other = await openPage(browser);
  await signIn(other, site);
  const seen = new Set();
  for (let press = 0; press < 30; press++) {
    await other.keyboard.press("Tab");
    seen.add(await other.evaluate(() => document.activeElement?.getAttribute("data-testid") ?? ""));
  }
  for (const part of ["tab-plots", "settings", "estop", "lease"]) assert.ok(seen.has(part), part);
  await other.context().close();
});

more("H.264 is taken where the gateway has it, and JPEG goes on where it has not", async () => {
  const other = await openPage(browser);
  await signIn(other, site);
  const tile = other.locator("[data-testid^=video-]").first();
  const frames = async () => Number(await tile.locator("canvas").getAttribute("data-frames"));
  await until("JPEGs come", async () => (await frames()) > 5);
  const answered = other.waitForResponse(/webrtc/);
  await other.getByTestId("settings").click();
  await other.getByTestId("video-path").selectOption("h264");
  const path = (await answered).ok() ? "H.264" : "JPEG";
  await until(`pictures come as ${path}`, async () => (await tile.textContent()).includes(path));
  const before = await frames();
  await until("pictures go on", async () => (await frames()) > before + 20, 15_000);
  if (!site.mock) assert.equal(path, "H.264");
  await other.context().close();
});
