/**
 * What the browser tests share. The page's address and who signs in come from the environment, so
 * that any rig can run them:
 *
 * DIALTONE_URL        base address; without it the tests start the mock robot (web/dev/mock.mjs)
 * DIALTONE_USER, DIALTONE_USER_PASSWORD      an operator (default ada / ada)
 * DIALTONE_ADMIN, DIALTONE_ADMIN_PASSWORD    an admin (default admin / admin)
 * DIALTONE_SHOTS      folder for screenshots (default: none are taken)
 * DIALTONE_E2E        short: leave out what other tests cover (default: everything)
 * DIALTONE_PATIENCE   by how much to stretch deadlines on a busy machine (default 1)
 * CHROMIUM            the browser (default /usr/bin/chromium)
 */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const PATIENCE = Number(process.env.DIALTONE_PATIENCE ?? 1);
/** The robot's own timeout, a poll of the page, and the vehicle's deceleration. */
export const STOPS_WITHIN_MS = 2500;
export const DESK = { width: 1280, height: 800 };
export const PHONE = { width: 360, height: 740 };
export const USER = process.env.DIALTONE_USER ?? "ada";
export const ADMIN = process.env.DIALTONE_ADMIN ?? "admin";
export const PASSWORDS = {
  [USER]: process.env.DIALTONE_USER_PASSWORD ?? USER,
  [ADMIN]: process.env.DIALTONE_ADMIN_PASSWORD ?? ADMIN,
};

/** The site under test: `{url, natsUrl, mock, close()}`. */
export async function openSite() {
  if (process.env.DIALTONE_URL) {
    const natsUrl = process.env.DIALTONE_NATS_URL ?? "";
    return { url: process.env.DIALTONE_URL.replace(/\/$/, ""), natsUrl, mock: false, close: () => {} };
  }
  const child = spawn(process.execPath, [join(HERE, "../dev/mock.mjs"), "--port", "0", "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the mock ended with ${code}`)));
    child.stdout.once("data", (data) => resolve(String(data)));
  });
  const { url, nats_url: natsUrl } = JSON.parse(line);
  return { url, natsUrl, mock: true, close: () => child.kill() };
}

export async function openBrowser() {
  return await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
  });
}

/** A window of its own (own cookies); `page.problems` collects errors that the page raised. */
export async function openPage(browser, { viewport = DESK, scheme = "light", touch = false } = {}) {
  const context = await browser.newContext({
    viewport, colorScheme: scheme, hasTouch: touch, isMobile: touch, deviceScaleFactor: touch ? 2 : 1,
  });
  context.setDefaultTimeout(15_000 * PATIENCE);
  if (PATIENCE > 1) {
    // A busy machine is no slow link: what it delays must not keep from driving.
    await context.addInitScript(() => {
      if (location.protocol.startsWith("http")) localStorage.setItem("dialtone.max_rtt_ms", "2000");
    });
  }
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    const text = message.text();
    if (/Content Security Policy|Refused to/.test(text)) page.problems.push(text);
  });
  return page;
}

/** Open the page and sign in where it asks; returns when the drive view is there. */
export async function signIn(page, site, user = USER) {
  await page.goto(site.url);
  const drive = page.getByTestId("drive");
  const name = page.getByTestId("user");
  await drive.or(name).first().waitFor();
  if (await name.isVisible()) {
    await name.fill(user);
    await page.getByTestId("password").fill(PASSWORDS[user] ?? user);
    await page.getByTestId("login").click();
  }
  await drive.waitFor();
}

/** Wait until the link is measured, so that nothing but the lease keeps from driving. */
export async function ready(page) {
  await page.waitForFunction(() => {
    const link = document.querySelector("[data-testid=link]")?.textContent ?? "";
    const armed = document.querySelector("[data-testid=armed]")?.textContent ?? "";
    return /\d/.test(link) && armed !== "No teleop";
  });
}

/** Press the lease button as long as it offers `offer`, until `done` stands beside it. */
async function pressLease(page, offer, done) {
  const button = page.getByTestId("lease");
  await until(done, async () => {
    if ((await page.getByTestId("holder").textContent()) === done) return true;
    if (((await button.textContent()) ?? "").includes(offer)) {
      await button.click({ timeout: 1000 }).catch(() => {});
      await page.waitForTimeout(300);
    }
    return false;
  });
}

export async function takeControl(page) {
  await ready(page);
  await pressLease(page, "Take", "You have control");
}

export async function giveBack(page) {
  await pressLease(page, "Release", "Nobody has control");
}

/** The robot drives only when armed; arming may need its autopilot's consent. */
export async function arm(page) {
  if ((await page.getByTestId("armed").textContent()) !== "Armed") await page.getByTestId("arm").click();
  await page.getByTestId("armed").getByText("Armed", { exact: true }).waitFor();
}

export async function clearEstop(page) {
  const clear = page.getByTestId("estop-clear");
  if (!(await clear.isVisible())) return;
  await clear.click();
  await clear.click();
  await page.getByTestId("estop-banner").waitFor({ state: "hidden" });
}

export async function readNumber(page, testId) {
  const text = (await page.getByTestId(testId).textContent()) ?? "";
  return Number.parseFloat(text.replace("−", "-"));
}

/** Distance of the robot from the origin of its odometry, as the page shows it, metres. */
export async function whereabouts(page) {
  return { x: await readNumber(page, "odom-x"), y: await readNumber(page, "odom-y") };
}

/** A test that a short run leaves out. */
export function more(name, run) {
  test(name, { skip: process.env.DIALTONE_E2E === "short" && "not in the short run" }, run);
}

/** Resolve once `probe()` is true; polls, since it asks another process. */
export async function until(what, probe, timeoutMs = 8000) {
  const limitMs = timeoutMs * PATIENCE;
  const deadline = performance.now() + limitMs;
  while (!(await probe())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export async function shot(page, name) {
  const folder = process.env.DIALTONE_SHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

export const moves = async (page, timeoutMs = 8000) =>
  until("the robot moves", async () => Math.abs(await readNumber(page, "speed")) > 0.1, timeoutMs);
/** What holds the key for driving forward. */
export const keys = (page) => ({
  press: () => page.keyboard.down("KeyW"),
  release: () => page.keyboard.up("KeyW"),
});

/**
 * Press until the robot moves, as `seen` by another page or this one. A machine so busy that the
 * page misses its own lease or answers stops a drive, rightly, and a person presses again.
 */
export async function drive(page, { press, release } = keys(page), seen = page) {
  for (let tries = 4; ; tries--) {
    await press();
    try {
      await moves(seen, 3000);
      return;
    } catch (error) {
      if (tries <= 1) throw error;
      await release();
      await takeControl(page);
      await arm(page);
    }
  }
}

export const atRest = (page, timeoutMs = 8000) =>
  until("the robot stands", async () => Math.abs(await readNumber(page, "speed")) < 0.02, timeoutMs);
