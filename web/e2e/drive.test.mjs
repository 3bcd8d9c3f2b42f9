/** Driving from the page: what moves the robot, and everything that must stop it. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import {
  arm, atRest, clearEstop, drive, giveBack, keys, more, moves, openBrowser, openPage, openSite, PHONE, ready,
  shot, signIn, STOPS_WITHIN_MS, takeControl, until, whereabouts,
} from "./lib.mjs";

let site;
let browser;
const pages = [];
let watching;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
});
after(async () => {
  assert.deepEqual(watching?.problems ?? [], []);
  await browser?.close();
  site?.close();
});
afterEach(async () => {
  for (const page of pages.splice(0)) {
    const problems = page.problems;
    await page.context().close().catch(() => {});
    assert.deepEqual(problems, []);
  }
});

/** A test whose pages are photographed when it fails. */
function check(name, run, register = test) {
  register(name, async () => {
    try {
      await run();
    } catch (error) {
      for (const [index, page] of pages.entries()) {
        await shot(page, `failed-${name.replace(/\W+/g, "-").slice(0, 40)}-${index}`).catch(() => {});
      }
      throw error;
    }
  });
}

const extra = (name, run) => check(name, run, more);

async function open(options) {
  const page = await openPage(browser, options);
  pages.push(page);
  await signIn(page, site);
  return page;
}

/** A second browser, the same one for all tests: it only looks, or does what it takes back. */
async function observer() {
  if (watching === undefined) {
    watching = await openPage(browser);
    await signIn(watching, site);
    await ready(watching);
  }
  return watching;
}

/** A page that holds control of an armed robot at rest. */
async function driver(options) {
  const page = await open(options);
  await ready(page);
  await clearEstop(page);
  await until("control is free", async () => {
    if (await page.getByTestId("lease").isEnabled()) return true;
    return false;
  });
  await takeControl(page);
  await arm(page);
  await atRest(page);
  return page;
}

check("the picture lives, and its figures are shown", async () => {
  const page = await open();
  const tile = page.locator("[data-testid^=video-]").first();
  const frames = async () => Number(await tile.locator("canvas").getAttribute("data-frames"));
  await until("pictures come", async () => (await frames()) > 5);
  const before = await frames();
  await until("more pictures come", async () => (await frames()) > before + 20);
  await until("a latency is measured", async () => /\d+ fps.*\d+ ms/.test(await tile.textContent()));
});

check("holding W drives, and letting go stops within the timeout", async () => {
  const page = await driver();
  const from = await whereabouts(page);
  await drive(page);
  await until("odometry grows", async () => {
    const at = await whereabouts(page);
    return Math.hypot(at.x - from.x, at.y - from.y) > 0.3;
  });
  await shot(page, "driving");
  await page.keyboard.up("KeyW");
  await atRest(page, STOPS_WITHIN_MS);
});

check("a mode of the vehicle is chosen, and the guided one takes it back", async () => {
  const page = await driver();
  const choice = page.getByTestId("mode-choice");
  await choice.selectOption("HOLD");
  await page.getByTestId("mode").getByText("HOLD").waitFor();
  await page.getByTestId("strip").getByText("mode", { exact: false }).first().waitFor();
  await choice.selectOption("GUIDED");
  await page.getByTestId("mode").getByText("GUIDED").waitFor();
  await drive(page);
  await page.keyboard.up("KeyW");
  await atRest(page, STOPS_WITHIN_MS);
});

extra("without control nothing moves, and the page says why", async () => {
  const page = await open();
  await ready(page);
  await page.keyboard.down("KeyW");
  await page.getByTestId("refusal").getByText("Take control first").waitFor();
  const from = await whereabouts(page);
  await page.waitForTimeout(500);
  assert.deepEqual(await whereabouts(page), from);
  await page.keyboard.up("KeyW");
});

extra("a window that loses the focus stops, and drives only after a new press", async () => {
  const page = await driver();
  await drive(page, { press: () => page.keyboard.down("ArrowUp"), release: () => page.keyboard.up("ArrowUp") });
  await page.evaluate(() => window.dispatchEvent(new Event("blur")));
  await atRest(page, STOPS_WITHIN_MS);
  await page.keyboard.up("ArrowUp");
  await page.keyboard.down("ArrowUp");
  await moves(page);
  await page.keyboard.up("ArrowUp");
});

check("a tab that is killed while driving stops, as another browser sees", async () => {
  const other = await observer();
  const page = await driver();
  await drive(page, keys(page), other);
  const crash = await page.context().newCDPSession(page);
  crash.send("Page.crash").catch(() => {});
  await atRest(other, STOPS_WITHIN_MS);
  await until("the lease is free again", async () =>
    (await other.getByTestId("holder").textContent()) === "Nobody has control", 6000);
});

extra("a page that is left while driving stops and gives control back", async () => {
  const other = await observer();
  const page = await driver();
  await drive(page, keys(page), other);
  await page.goto("about:blank");
  await atRest(other, STOPS_WITHIN_MS);
});

check("two browsers contend for the lease, and only one drives", async () => {
  const first = await driver();
  const second = await observer();
  await second.getByTestId("holder").getByText("has control").waitFor();
  assert.equal(await second.getByTestId("lease").isEnabled(), false);
  await second.keyboard.down("KeyW");
  await second.getByTestId("refusal").getByText("has control").waitFor();
  await second.keyboard.up("KeyW");
  await giveBack(first);
  await second.getByText("Nobody has control").waitFor();
  await takeControl(second);
  await first.getByTestId("holder").getByText("/").waitFor();
  await giveBack(second);
});

check("the e-stop of an observer stops the driver, latches, and is cleared by two presses", async () => {
  const page = await driver();
  const other = await observer();
  await drive(page);
  await other.getByTestId("estop").click();
  await page.getByTestId("estop-banner").waitFor();
  await atRest(page, STOPS_WITHIN_MS);
  await shot(other, "estop");
  await page.keyboard.up("KeyW");
  await page.keyboard.down("KeyW");
  await page.getByTestId("refusal").getByText("E-stop is active").waitFor();
  await page.keyboard.up("KeyW");
  await clearEstop(page);
  await takeControl(page);
  await arm(page);
  await drive(page);
  await page.keyboard.up("KeyW");
});

extra("Space is the e-stop on every view, whatever has the focus", async () => {
  const page = await driver();
  for (const view of ["plots", "health", "episodes", "drive"]) {
    await page.locator(`[data-testid=tab-${view}]:visible`).click();
    await page.keyboard.press("Space");
    await page.getByTestId("estop-banner").waitFor();
    await clearEstop(page);
  }
});

extra("a link slower than the limit is refused, with the figure on the screen", async () => {
  const page = await openPage(browser);
  pages.push(page);
  await page.addInitScript(() => localStorage.setItem("dialtone.max_rtt_ms", "400"));
  let delayMs = 0;
  const late = [];
  const release = (socket) => {
    while (late.length > 0 && late[0].due <= performance.now()) socket.send(late.shift().message);
    if (late.length > 0) setTimeout(release, Math.max(1, late[0].due - performance.now()), socket);
  };
  await page.routeWebSocket(/\/nats$/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      if (delayMs === 0 && late.length === 0) {
        socket.send(message);
        return;
      }
      late.push({ message, due: performance.now() + delayMs });
      if (late.length === 1) release(socket);
    });
  });
  await signIn(page, site);
  await takeControl(page);
  await arm(page);
  await drive(page);
  delayMs = 700;
  await page.getByTestId("refusal").getByText(/Round trip|No answer/).waitFor();
  delayMs = 0;
  await atRest(page);
  await page.keyboard.up("KeyW");
});

extra("an e-stop over a dead link says so, and goes through once the link is back", async () => {
  const page = await openPage(browser);
  pages.push(page);
  let dead = false;
  const sockets = new Set();
  await page.routeWebSocket(/\/nats$/, (socket) => {
    if (dead) {
      socket.close();
      return;
    }
    socket.connectToServer();
    sockets.add(socket);
  });
  await signIn(page, site);
  await takeControl(page);
  dead = true;
  for (const socket of sockets) socket.close();
  await page.getByTestId("offline").waitFor();
  await page.getByTestId("estop").click();
  await page.getByText("did not confirm").waitFor();
  dead = false;
  await page.getByText("E-stop is active", { exact: true }).first().waitFor({ timeout: 15_000 });
  await clearEstop(page);
});

check("a phone drives with the thumb and nothing runs off its screen", async () => {
  const page = await driver({ viewport: PHONE, touch: true });
  const stick = await page.getByTestId("stick").boundingBox();
  assert.ok(stick.y + stick.height < PHONE.height, "the pad is on the first screen");
  const [x, y] = [stick.x + stick.width / 2, stick.y + stick.height / 2];
  const touch = await page.context().newCDPSession(page);
  const send = (type, touchPoints) => touch.send("Input.dispatchTouchEvent", { type, touchPoints });
  const thumb = {
    press: async () => {
      await send("touchStart", [{ x, y }]);
      await send("touchMove", [{ x, y: y - 60 }]);
    },
    release: () => send("touchEnd", []),
  };
  await drive(page, thumb);
  await shot(page, "phone");
  await send("touchEnd", []);
  await atRest(page, STOPS_WITHIN_MS);
  await drive(page, thumb);
  await send("touchCancel", []);
  await atRest(page, STOPS_WITHIN_MS);
  for (const view of ["drive", "plots", "health", "episodes"]) {
    await page.locator(`[data-testid=tab-${view}]:visible`).click();
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${view} is ${over} px too wide`);
    const estop = await page.getByTestId("estop").boundingBox();
    assert.ok(estop.x + estop.width <= PHONE.width && estop.height >= 40);
  }
});
