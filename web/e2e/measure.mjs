/**
 * Figures of the page, as one line of JSON: key press to the command's arrival at a NATS
 * subscriber, time until the page can be used, size of its JavaScript, latency of the picture.
 *
 * Environment as for the tests (lib.mjs); with DIALTONE_NATS_URL (user and password in it where
 * the server wants them) commands are taken from that server, else as the admin from the gateway's
 * /nats, and where there is no admin from what the browser hands to its WebSocket. `PRESSES` (default 60). Key presses are stamped by the browser itself
 * (`event.timeStamp`); all clocks are this machine's.
 */
import { gzipSync } from "node:zlib";
import {
  ADMIN, arm, clearEstop, openBrowser, openPage, openSite, PASSWORDS, signIn, takeControl, until,
} from "./lib.mjs";
import { asksForMotion, listenGateway, listenTcp } from "./wire.mjs";

const PRESSES = Number(process.env.PRESSES ?? 60);
const ROBOT = process.env.DIALTONE_ROBOT ?? "rover";

function quantile(values, fraction) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))];
}

/** Medians of `runs` cold loads in fresh windows: navigation start → signed-in page usable. */
async function measureLoads(browser, site, runs) {
  const times = [];
  for (let run = 0; run < runs; run++) {
    const page = await openPage(browser);
    await signIn(page, site);
    await page.goto("about:blank");
    await page.goto(site.url);
    await page.getByTestId("drive").waitFor();
    const ms = await page.evaluate(
      () => performance.getEntriesByName("dialtone-interactive")[0].startTime,
    );
    times.push(ms / 1000);
    await page.context().close();
  }
  return quantile(times, 0.5);
}

/** Every script that the page loads, compressed as the gateway does. */
async function measureScripts(browser, site) {
  const page = await openPage(browser);
  let bytes = 0;
  page.on("response", async (response) => {
    if (!/\.m?js(\?|$)/.test(response.url())) return;
    const body = await response.body().catch(() => null);
    if (body) bytes += gzipSync(body, { level: 9 }).length;
  });
  await signIn(page, site);
  await page.waitForLoadState("networkidle", { timeout: 3000 }).catch(() => {});
  await page.context().close();
  return bytes / 1000;
}

async function measureKeys(browser, site) {
  const page = await openPage(browser);
  const arrivals = [];
  const see = (at, text) => {
    if (asksForMotion(text)) arrivals.push(at);
  };
  const now = () => performance.timeOrigin + performance.now();
  let wire = "browser";
  let stop = () => {};
  if (site.natsUrl) {
    stop = await listenTcp(site.natsUrl, ROBOT, see);
    wire = "nats";
  } else if (await listenGateway(site.url, ADMIN, PASSWORDS[ADMIN], ROBOT, see).then((end) => {
    stop = end;
    return true;
  }, () => false)) {
    wire = "gateway";
  } else {
    page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => {
      const text = payload.toString("latin1");
      if (text.includes(".cmd.cmd_vel")) see(now(), text);
    }));
  }
  await page.addInitScript(() => {
    window.presses = [];
    window.addEventListener("keydown", (event) => {
      if (!event.repeat) window.presses.push(performance.timeOrigin + event.timeStamp);
    }, { capture: true });
  });
  await signIn(page, site);
  await clearEstop(page);
  await takeControl(page);
  await arm(page);
  const delays = [];
  for (let press = 0; press < PRESSES; press++) {
    arrivals.length = 0;
    const key = press % 2 ? "KeyA" : "KeyD";
    await page.keyboard.down(key);
    await until("the command arrives", () => arrivals.length > 0, 1000).catch(() => {});
    const pressed = await page.evaluate(() => window.presses.at(-1));
    if (arrivals.length > 0) delays.push(arrivals[0] - pressed);
    await page.keyboard.up(key);
    await page.waitForTimeout(60 + (press * 37) % 90);
  }
  const latency = await page.locator("[data-testid^=video-]").first().textContent().catch(() => "");
  await page.context().close();
  stop();
  return { delays, wire, frame: Number(/fps\s*(\d+)\s*ms/.exec(latency ?? "")?.[1] ?? Number.NaN) };
}

const site = await openSite();
const browser = await openBrowser();
try {
  const round = (value, digits) => (Number.isFinite(value) ? Number(value.toFixed(digits)) : null);
  const keys = await measureKeys(browser, site);
  console.log(JSON.stringify({
    key_to_wire_p50_ms: round(quantile(keys.delays, 0.5), 2),
    key_to_wire_p99_ms: round(quantile(keys.delays, 0.99), 2),
    presses: PRESSES,
    presses_lost: PRESSES - keys.delays.length,
    wire: keys.wire,
    page_interactive_s: round(await measureLoads(browser, site, 5), 3),
    js_gzip_kb: round(await measureScripts(browser, site), 1),
    frame_shown_ms: round(keys.frame, 0),
  }));
} finally {
  await browser.close();
  site.close();
}
