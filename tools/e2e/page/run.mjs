// Drives the page in a Chromium, as people do.
//
//   npm ci
//   node run.mjs                               against the mock of this folder
//   node run.mjs --url http://127.0.0.1:8080   against a server that runs
//   node run.mjs --only region                 cases whose name holds a word
//   node run.mjs --screenshots ../../../docs/images
//
// CHROMIUM names the program, /usr/bin/chromium without it. A message on the console, an uncaught error or a
// violation of the content security policy fails the case in which it happens.

import { mkdir } from "node:fs/promises";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { cases } from "./cases.mjs";
import { start } from "./mock.mjs";
import { Page } from "./page.mjs";
import { screenshots } from "./screenshots.mjs";

const { values: options } = parseArgs({
  options: { url: { type: "string" }, only: { type: "string", default: "" }, screenshots: { type: "string" }, key: { type: "string", default: "" } },
});
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

const mock = options.url ? null : await start();
const url = options.url ?? mock.url;
const browser = await chromium.launch({
  executablePath,
  args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
});
const models = await listModels();
const counts = { passed: 0, failed: 0, skipped: 0 };
try {
  if (options.screenshots) {
    await mkdir(options.screenshots, { recursive: true });
    for (const shot of screenshots) await attempt(shot, (page) => shot.take(page, options.screenshots));
  } else {
    for (const one of cases.filter(({ name }) => name.includes(options.only))) await attempt(one, one.run);
  }
} finally {
  await browser.close();
  await mock?.close();
}
say(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${mock ? "mock" : url})`);
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;

async function attempt({ name, context: contextOptions = {}, needs = {}, expects = [] }, act) {
  const reason = (needs.mock && !mock && "needs the mock’s answers") || (needs.models > models.length && `needs ${needs.models} models, the server has ${models.length}`);
  if (reason) {
    counts.skipped += 1;
    say(`skip  ${name}: ${reason}`);
    return;
  }
  const began = Date.now();
  const context = await browser.newContext({ viewport: { width: 1200, height: 860 }, acceptDownloads: true, ...contextOptions });
  const complaints = [];
  try {
    const tab = await context.newPage();
    tab.setDefaultTimeout(mock ? 10_000 : 180_000);
    listen(tab, complaints, expects);
    await tab.addInitScript((key) => key && sessionStorage.setItem("deem.key", key), options.key);
    await tab.goto(url);
    await tab.locator(".welcome").waitFor();
    await act(new Page(tab, { onMock: mock !== null, models, url }));
    if (complaints.length > 0) throw new Error(`the browser complained:\n  ${complaints.join("\n  ")}`);
    counts.passed += 1;
    say(`ok    ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    counts.failed += 1;
    say(`FAIL  ${name}\n${error.stack}${complaints.length > 0 ? `\n  ${complaints.join("\n  ")}` : ""}`);
  } finally {
    await context.close();
  }
}

/** Collects what a browser complains of: policy violations come as console errors, too. */
function listen(tab, complaints, expects) {
  const complain = (words) => {
    if (!expects.some((expected) => expected.test(words))) complaints.push(words);
  };
  tab.on("console", (message) => ["error", "warning"].includes(message.type()) && complain(`console ${message.type()}: ${message.text()} ${message.location().url}`));
  tab.on("pageerror", (error) => complain(`uncaught: ${error.stack}`));
  tab.on("request", (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) complain(`request to elsewhere: ${request.url()}`);
  });
}

async function listModels() {
  const response = await fetch(new URL("v1/models", `${url}/`), { headers: options.key ? { Authorization: `Bearer ${options.key}` } : {} });
  return (await response.json()).data.map((model) => model.id);
}

function say(words) {
  process.stdout.write(`${words}\n`);
}
