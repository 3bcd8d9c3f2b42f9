/** Screenshots of every view, on a desk and on a phone, light and dark: `node e2e/shots.mjs`. */
import { arm, clearEstop, DESK, openBrowser, openPage, openSite, PHONE, shot, signIn, takeControl } from "./lib.mjs";

process.env.DIALTONE_SHOTS ??= "shots";
const site = await openSite();
const browser = await openBrowser();
try {
  for (const [size, viewport] of Object.entries({ desk: DESK, phone: PHONE })) {
    for (const scheme of ["light", "dark"]) {
      const page = await openPage(browser, { viewport, scheme, touch: size === "phone" });
      await signIn(page, site);
      await clearEstop(page);
      await takeControl(page);
      await arm(page);
      await page.keyboard.down("KeyW");
      await page.keyboard.down("KeyA");
      await page.waitForTimeout(2500);
      await shot(page, `${size}-${scheme}-drive`);
      await page.keyboard.up("KeyA");
      await page.keyboard.up("KeyW");
      for (const view of ["plots", "health", "episodes"]) {
        await page.locator(`[data-testid=tab-${view}]:visible`).click();
        if (view === "episodes" && size === "desk" && scheme === "light") {
          await page.getByTestId("task").fill("Drive around the post");
          await page.getByTestId("record").click();
          await page.getByTestId("end-success").waitFor();
        }
        await page.waitForTimeout(2200);
        await shot(page, `${size}-${scheme}-${view}`);
        if (view === "episodes" && size === "desk" && scheme === "light") {
          await page.getByTestId("end-success").click();
          await page.getByTestId("episode").first().waitFor();
          await page.waitForTimeout(1500);
          await shot(page, `${size}-${scheme}-labelled`);
        }
      }
      await page.locator("[data-testid=tab-drive]:visible").click();
      await page.getByTestId("settings").click();
      await shot(page, `${size}-${scheme}-settings`);
      await page.keyboard.press("Escape");
      await page.keyboard.press("Space");
      await page.waitForTimeout(400);
      await shot(page, `${size}-${scheme}-estop`);
      await clearEstop(page);
      if (page.problems.length > 0) console.error(page.problems.join("\n"));
      await page.context().close();
    }
  }
  const page = await openPage(browser);
  await page.goto(site.url);
  await page.waitForTimeout(300);
  await shot(page, "login");
} finally {
  await browser.close();
  site.close();
}
