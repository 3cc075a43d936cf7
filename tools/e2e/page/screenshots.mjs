// The pictures of the page in the documentation, made as the cases are run: `node run.mjs --screenshots FOLDER`.

import { sample } from "./page.mjs";

const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "light" };
const DESK = { viewport: { width: 1180, height: 780 }, colorScheme: "light" };

export const screenshots = [
  {
    name: "welcome",
    context: DESK,
    async take(page, folder) {
      await shoot(page, folder, "welcome");
    },
  },
  {
    name: "conversation",
    context: DESK,
    async take(page, folder) {
      await page.attach(await sample("ducks"));
      await page.ask("How many ducks are in the image?");
      await page.ask("What color is the background?");
      await shoot(page, folder, "chat");
    },
  },
  {
    name: "region",
    context: DESK,
    async take(page, folder) {
      await page.attach(await sample("snowman"));
      await page.button("Mark a region").click();
      const { x, y, width, height } = await page.tab.locator("dialog canvas").boundingBox();
      await page.tab.getByRole("slider", { name: "Brush size" }).fill("22");
      await page.tab.mouse.move(x + width * 0.76, y + height * 0.14);
      await page.tab.mouse.down();
      await page.tab.mouse.move(x + width * 0.74, y + height * 0.42, { steps: 12 });
      await page.tab.mouse.move(x + width * 0.68, y + height * 0.4, { steps: 4 });
      await page.tab.mouse.move(x + width * 0.82, y + height * 0.38, { steps: 8 });
      await page.tab.mouse.up();
      await shoot(page, folder, "region");
    },
  },
  {
    name: "what it sees, two models",
    context: { ...DESK, viewport: { width: 1180, height: 1150 } },
    needs: { models: 2 },
    async take(page, folder) {
      await page.tab.getByRole("switch", { name: "Compare" }).check();
      await page.attach(await sample("ducks"));
      await page.ask("How many ducks are in the image?");
      await page.button("What it sees").click();
      await page.tab.locator(".split").nth(1).waitFor();
      await page.tab.getByRole("slider", { name: /before and after/ }).first().fill("45");
      await shoot(page, folder, "compare");
    },
  },
  {
    name: "drawn, dark",
    context: { ...DESK, colorScheme: "dark" },
    async take(page, folder) {
      await page.button("Settings").click();
      await page.dialog("Settings").getByLabel("Pictures at once").fill("2");
      await page.button("Save").click();
      await page.tab.getByRole("radio", { name: "Draw" }).check();
      await page.ask("two red apples above a bus");
      await shoot(page, folder, "draw-dark");
    },
  },
  {
    name: "settings",
    context: DESK,
    async take(page, folder) {
      await page.button("Settings").click();
      await shoot(page, folder, "settings");
    },
  },
  {
    name: "phone",
    context: PHONE,
    async take(page, folder) {
      await page.attach(await sample("house"));
      await page.ask("Which way is the house turned?");
      await page.button("What it sees").click();
      await page.tab.locator(".split").waitFor();
      await shoot(page, folder, "phone");
    },
  },
  {
    name: "phone, welcome, dark",
    context: { ...PHONE, colorScheme: "dark" },
    async take(page, folder) {
      await shoot(page, folder, "phone-dark");
    },
  },
];

async function shoot({ tab }, folder, name) {
  await tab.mouse.move(0, 0);
  await tab.waitForTimeout(400);
  await tab.screenshot({ path: `${folder}/serve-${name}.png`, animations: "disabled", caret: "hide" });
}
