// The page as the cases speak of it.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { encode } from "./png.mjs";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const SAMPLES = new URL("../../../crates/serve/page/samples/", import.meta.url);

/** A tab with the page, and what is done in it most. */
export class Page {
  /** @param {import("playwright-core").Page} tab */
  constructor(tab, { onMock, models, url }) {
    Object.assign(this, { tab, onMock, models, url });
  }

  get question() {
    return this.tab.getByRole("textbox", { name: "Question" });
  }

  get answers() {
    return this.tab.locator(".answer");
  }

  button(name, within = this.tab) {
    return within.getByRole("button", { name, exact: true });
  }

  dialog(name) {
    return this.tab.getByRole("dialog", { name });
  }

  /** Waits until words stand on the page (not only in what is said to screen readers). */
  async shows(words) {
    await this.tab.locator(".app").getByText(words).first().waitFor();
  }

  /** Attaches a picture through the file dialog. */
  async attach(file) {
    const chooser = this.tab.waitForEvent("filechooser");
    await this.button("Add pictures").click();
    await (await chooser).setFiles(file);
    await this.tab.locator(".thumbnail").last().waitFor();
  }

  /** Asks, and waits for the answers. @returns {Promise<string>} the first one */
  async ask(text) {
    await this.question.fill(text);
    await this.question.press("Enter");
    await this.settled();
    return this.tab.locator(".turn").last().locator(".words").first().innerText();
  }

  /** Waits until nothing is being answered. */
  async settled() {
    await this.tab.locator(".answer").last().waitFor();
    await this.tab.waitForFunction(() => [...document.querySelectorAll(".answer")].every((answer) => answer.getAttribute("aria-busy") === "false"));
  }

  /** Reloads once what is shown is kept: the end of an answer is kept right after it is shown. */
  async reload() {
    await this.settled();
    await this.tab.waitForFunction(() => new Promise((resolve, reject) => {
      const open = indexedDB.open("deem");
      open.onerror = () => reject(open.error);
      open.onsuccess = () => {
        const all = open.result.transaction("conversations").objectStore("conversations").getAll();
        all.onsuccess = () => {
          open.result.close();
          const answers = all.result.flatMap((conversation) => conversation.turns).flatMap((turn) => turn.answers);
          resolve(answers.every((answer) => ["done", "stopped", "failed"].includes(answer.state)));
        };
      };
    }));
    await this.tab.reload();
  }

  /** Body of the next request to a path, as JSON. */
  async sent(path, act) {
    const request = this.tab.waitForRequest((one) => one.url().endsWith(path) && one.method() === "POST");
    await act();
    return (await request).postDataJSON();
  }

  /** Has a path answer as told; without an answer the request hangs, as with a server that thinks. */
  async answerWith(path, response, times = Infinity) {
    let left = times;
    await this.tab.route(`**/${path}`, (route) => {
      if (left <= 0) return route.continue();
      left -= 1;
      if (response === "gone") return route.abort("connectionrefused");
      return response ? route.fulfill({ contentType: "application/json", ...response }) : undefined;
    });
  }

  /** Findings of axe, minor ones left out, in words. */
  async accessibility() {
    // The policy of the page forbids scripts of others: axe comes in beside it, through the debugger.
    await this.tab.evaluate(await readFile(AXE, "utf8"));
    const { violations } = await this.tab.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations
      .filter(({ impact }) => impact !== "minor")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
  }

  /** By how many pixels the page is wider than its window. */
  overflow() {
    return this.tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  }
}

/** A picture of this repository, as a file to upload. */
export async function sample(name) {
  return { name: `${name}.png`, mimeType: "image/png", buffer: await readFile(new URL(`${name}.png`, SAMPLES)) };
}

/** A drawn picture: left half red, right half blue. */
export function halves(width, height) {
  const buffer = encode(width, height, (x) => (x < width / 2 ? [200, 40, 40] : [40, 60, 200]));
  return { name: `halves-${width}.png`, mimeType: "image/png", buffer };
}
