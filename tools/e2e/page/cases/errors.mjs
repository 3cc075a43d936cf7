// Errors in words. The answers of the server are put in its place here, so that they come from any server.

import assert from "node:assert/strict";
import { sample } from "../page.mjs";

const refused = (status) => [new RegExp(`the server responded with a status of ${status}`)];
const said = (message) => JSON.stringify({ error: { message, type: "server_error" } });

export const errors = [
  {
    name: "401 asks for the key, and goes on with it",
    expects: refused(401),
    async run(page) {
      await page.answerWith("v1/chat/completions", { status: 401, body: said("no such key") }, 1);
      await ask(page);
      await page.shows("The server wants an API key. It says: no such key");
      await page.button("Enter API key").click();
      const key = page.dialog("Settings").getByLabel("API key");
      assert.ok(await key.evaluate((element) => element === document.activeElement), "the key's field has the focus");
      if (!(await key.inputValue())) await key.fill("sk-now");
      await page.button("Save").click();
      await page.tab.locator(".answer[data-state=done]").waitFor();
    },
  },
  {
    name: "429 counts down and tries again",
    expects: refused(429),
    async run(page) {
      await page.answerWith("v1/chat/completions", { status: 429, headers: { "Retry-After": "2" }, body: said("queue full") }, 1);
      await ask(page);
      await page.shows("The server is busy: trying again in 2 s");
      await page.shows("trying again in 1 s");
      await page.tab.locator(".answer[data-state=done]").waitFor();
    },
  },
  {
    name: "429: the waiting can be stopped",
    expects: refused(429),
    async run(page) {
      await page.answerWith("v1/chat/completions", { status: 429, headers: { "Retry-After": "60" }, body: said("queue full") });
      await ask(page);
      await page.shows("trying again in");
      await page.button("Stop").click();
      await page.shows("Stopped.");
    },
  },
  {
    name: "413 and 500 say what to do, and can be tried again",
    expects: [...refused(413), ...refused(500)],
    async run(page) {
      await page.answerWith("v1/chat/completions", { status: 413, body: said("body over 20 MiB") }, 1);
      await ask(page);
      await page.shows("use fewer or smaller pictures. It says: body over 20 MiB");
      await page.answerWith("v1/chat/completions", { status: 500, contentType: "text/html", body: "<h1>oops</h1>" }, 1);
      await page.button("Try again").click();
      await page.shows("Something went wrong within the server");
      await page.tab.unrouteAll();
      await page.button("Try again").click();
      await page.tab.locator(".answer[data-state=done]").waitFor();
    },
  },
  {
    name: "the network is gone",
    expects: [/ERR_CONNECTION_REFUSED/],
    async run(page) {
      await page.answerWith("v1/chat/completions", "gone");
      await ask(page);
      await page.shows("The server cannot be reached");
      await page.button("Try again").waitFor();
    },
  },
  {
    name: "an error within a stream, and a stream that is cut",
    async run(page) {
      const begun = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "Half of" } }] })}\n\n`;
      const failed = `data: ${JSON.stringify({ error: { message: "the model ran out of memory" } })}\n\n`;
      await page.answerWith("v1/chat/completions", { contentType: "text/event-stream", body: begun + failed }, 1);
      await ask(page);
      await page.shows("The model stopped. It says: the model ran out of memory");
      assert.equal(await page.answers.last().locator(".words").innerText(), "Half of");
      await page.answerWith("v1/chat/completions", { contentType: "text/event-stream", body: begun }, 1);
      await page.button("Try again").click();
      await page.shows("The connection ended before the answer did.");
    },
  },
  {
    name: "a restoration that fails can be tried again",
    expects: refused(500),
    async run(page) {
      await page.attach(await sample("house"));
      await page.answerWith("v1/restore", { status: 500, body: said("no diffusion model was loaded") }, 1);
      await page.button("What it sees").click();
      await page.shows("It says: no diffusion model was loaded");
      await page.button("Try again").click();
      await page.tab.locator(".split").waitFor();
    },
  },
  {
    name: "models cannot be listed",
    expects: refused(503),
    async run(page) {
      await page.answerWith("v1/models", { status: 503, body: "" }, 1);
      await page.tab.reload();
      await page.shows("The server is not ready yet");
      await page.button("Try again").click();
      await page.tab.locator(".notice").waitFor({ state: "detached" });
      await page.tab.locator(".models").getByText(page.models[0], { exact: true }).first().waitFor({ state: "attached" });
    },
  },
];

async function ask(page) {
  await page.question.fill("What color is the sky?");
  await page.question.press("Enter");
}
