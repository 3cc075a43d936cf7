// Colours, narrow screens, keyboard, accessibility.

import assert from "node:assert/strict";
import { sample } from "../page.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

export const looks = [
  {
    name: "dark mode: as the system, and by switch",
    context: { colorScheme: "dark" },
    async run({ tab, ...page }) {
      const lightness = () => tab.evaluate(() => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data[0];
      });
      assert.ok((await lightness()) < 60, "dark where the system is");
      const theme = tab.getByRole("button", { name: /^Colours/ });
      await theme.click();
      await theme.click();
      assert.equal(await theme.getAttribute("aria-label"), "Colours: light");
      assert.ok((await lightness()) > 200, "light when switched");
      await tab.reload();
      assert.ok((await lightness()) > 200, "also after a reload");
    },
  },
  ...[390, 360].map((width) => ({
    name: `${width} pixels wide`,
    context: { ...PHONE, viewport: { width, height: 800 } },
    async run(page) {
      assert.equal(await page.overflow(), 0, "welcome");
      if (page.models.length > 1) await page.tab.getByRole("switch", { name: "Compare" }).check();
      await page.attach(await sample("ducks"));
      await page.ask(`Which of these do you see: ${"unbreakable".repeat(12)}?`);
      await page.button("What it sees", page.tab.locator(".flow")).click();
      await page.tab.locator(".split").first().waitFor();
      assert.equal(await page.overflow(), 0, "conversation with restoration");
      await page.attach(await sample("house"));
      await page.button("Mark a region").click();
      assert.equal(await page.overflow(), 0, "region");
      await page.tab.keyboard.press("Escape");
      await page.button("Settings").click();
      assert.equal(await page.overflow(), 0, "settings");
      await page.tab.keyboard.press("Escape");
      await page.button("Conversations").click();
      await page.button("Close list").waitFor();
      assert.equal(await page.overflow(), 0, "list of conversations");
      await page.tab.keyboard.press("Escape");
      await page.button("Close list").waitFor({ state: "hidden" });
    },
  })),
  {
    name: "keyboard alone",
    async run(page) {
      const { tab } = page;
      assert.ok(await isFocused(page.question), "the question has the focus at the start");
      await page.attach(await sample("ducks"));
      await page.ask("How many ducks are there?");
      await tab.evaluate(() => document.activeElement.blur());
      const reached = new Set();
      for (let presses = 0; presses < 60; presses += 1) {
        await tab.keyboard.press("Tab");
        const focus = await tab.evaluate(() => {
          const element = document.activeElement;
          if (element === document.body) return null;
          const style = getComputedStyle(element);
          const near = element.nextElementSibling ? getComputedStyle(element.nextElementSibling) : style;
          const holder = element.closest("form") ? getComputedStyle(element.closest("form")) : style;
          const visible = [style, near, holder].some((one) => one.outlineStyle !== "none" && one.outlineWidth !== "0px");
          return { name: element.getAttribute("aria-label") ?? element.labels?.[0]?.innerText ?? element.innerText.trim(), visible };
        });
        if (!focus) continue;
        assert.ok(focus.visible, `the focus on “${focus.name}” is visible`);
        reached.add(focus.name);
      }
      const expected = [
        "Skip to the question", "New conversation", "How many ducks are there?", "Export", "Import", "Settings", "What it sees",
        "Edit question", "Copy answer", "Answer again", "Question", "Add pictures", "Send",
      ];
      for (const name of expected) assert.ok(reached.has(name), `Tab reaches “${name}”; it reached ${[...reached].join(", ")}`);

      await page.button("Settings").focus();
      await tab.keyboard.press("Enter");
      await page.dialog("Settings").waitFor();
      await tab.keyboard.press("Escape");
      await page.dialog("Settings").waitFor({ state: "detached" });
      assert.ok(await isFocused(page.button("Settings")), "the focus comes back to what opened the dialog");

      await page.question.focus();
      await tab.keyboard.type("One line");
      await tab.keyboard.press("Shift+Enter");
      await tab.keyboard.type("and another");
      assert.equal(await page.question.inputValue(), "One line\nand another");
      await tab.keyboard.press("Enter");
      await page.settled();
      assert.equal(await tab.locator(".turn").count(), 2);
    },
  },
  ...["light", "dark"].map((colorScheme) => ({
    name: `axe finds nothing, ${colorScheme}`,
    context: { colorScheme, reducedMotion: "reduce" },
    async run(page) {
      const check = async (where) => assert.deepEqual(await page.accessibility(), [], where);
      await check("welcome");
      await page.attach(await sample("ducks"));
      await page.button("Mark a region").click();
      await check("region");
      await page.tab.keyboard.press("Escape");
      if (page.models.length > 1) await page.tab.getByRole("switch", { name: "Compare" }).check();
      await page.ask("How many ducks are there?");
      await page.button("What it sees", page.tab.locator(".flow")).click();
      await page.tab.locator(".split").first().waitFor();
      await check("conversation");
      await page.button("Settings").click();
      await check("settings");
    },
  })),
];

function isFocused(locator) {
  return locator.evaluate((element) => element === document.activeElement);
}
