// Asking, stopping, asking again; conversations that stay, leave and come back.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { sample } from "../page.mjs";

export const basics = [
  {
    name: "upload, question, streamed answer",
    async run(page) {
      await page.attach(await sample("ducks"));
      await page.question.fill("How many ducks are in the image?");
      const body = await page.sent("/v1/chat/completions", () => page.button("Send").click());
      await page.settled();
      const said = await page.answers.last().locator(".words").innerText();
      assert.ok(said.trim().length > 0, "the answer is empty");
      if (page.onMock) assert.equal(said, "There are two ducks in the image. They stand to the left of a red octopus.");
      const [picture, text] = body.messages.at(-1).content;
      assert.equal(body.stream, true);
      assert.equal(body.stream_options.include_usage, true);
      assert.match(picture.image_url.url, /^data:image\/png;base64,/);
      assert.equal(picture.mask ?? picture.box, undefined);
      assert.deepEqual(text, { type: "text", text: "How many ducks are in the image?" });
      assert.match(await page.answers.last().locator(".figures").innerText(), /^\d+ tokens?.* first token after \d+\.\d\d s$/);
      if (page.onMock) assert.match(await page.tab.locator("#announcer").innerText(), /two ducks[\s\S]*Answer complete/);
    },
  },
  {
    name: "an answer grows while it comes",
    needs: { mock: true },
    async run(page) {
      await page.question.fill("A long answer, please");
      await page.question.press("Enter");
      const words = page.answers.last().locator(".words");
      await words.getByText("One word").waitFor();
      const early = (await words.innerText()).length;
      await page.tab.waitForTimeout(500);
      assert.ok((await words.innerText()).length > early, "nothing was added in half a second");
      await page.button("Stop").click();
    },
  },
  {
    name: "events are read wherever their stream is cut",
    async run({ tab }) {
      const found = await tab.evaluate(async () => {
        const { events } = await import(new URL("js/sse.js", document.baseURI));
        const bytes = new TextEncoder().encode(": a comment\r\n\r\ndata: {\"é\":1}\r\n\r\ndata:two\r\ndata: lines\n\nevent: x\ndata: 😀\r\rdata: [DONE]");
        const read = async (cut) => {
          const body = new ReadableStream({
            start(controller) {
              for (let at = 0; at < bytes.length; at += cut) controller.enqueue(bytes.slice(at, at + cut));
              controller.close();
            },
          });
          const all = [];
          for await (const data of events(body)) all.push(data);
          return all;
        };
        return Promise.all([1, 2, 3, 5, 7, 1000].map(read));
      });
      for (const all of found) assert.deepEqual(all, ['{"é":1}', "two\nlines", "😀", "[DONE]"]);
    },
  },
  {
    name: "another conversation may be opened while one is answered",
    needs: { mock: true },
    async run(page) {
      await page.ask("The first one");
      await page.button("New conversation").click();
      await page.question.fill("A long answer, please");
      await page.question.press("Enter");
      await page.shows("follows another");
      await page.button("The first one").click();
      await page.shows("You asked: The first one");
      await page.button("Send").waitFor();
      await page.button("A long answer, please").click();
      await page.shows("Stopped.");
      assert.match(await page.answers.last().innerText(), /One word follows another/);
    },
  },
  {
    name: "what is deleted while it is answered stays deleted",
    needs: { mock: true },
    async run(page) {
      await page.question.fill("A long answer, please");
      await page.question.press("Enter");
      await page.shows("follows another");
      await page.tab.locator(".conversations li").hover();
      await page.button("Delete “A long answer, please”").click();
      await page.button("Delete", page.dialog("Delete this conversation?")).click();
      await page.tab.locator(".welcome").waitFor();
      await page.button("Send").waitFor();
      await page.tab.reload();
      await page.tab.locator(".welcome").waitFor();
      assert.equal(await page.tab.locator(".conversations li").count(), 0);
    },
  },
  {
    name: "stop before the first word",
    async run(page) {
      await page.answerWith("v1/chat/completions", null);
      await page.question.fill("What do you think?");
      await page.question.press("Enter");
      await page.button("Stop").click();
      await page.settled();
      await page.shows("Stopped.");
      await page.button("Send").waitFor();
    },
  },
  {
    name: "stop within an answer keeps what came",
    needs: { mock: true },
    async run(page) {
      await page.question.fill("A long answer, please");
      await page.question.press("Enter");
      await page.shows("follows another");
      await page.question.press("Escape");
      await page.settled();
      const said = await page.answers.last().innerText();
      assert.match(said, /One word follows another/);
      assert.match(said, /Stopped\./);
      await page.reload();
      assert.match(await page.answers.last().innerText(), /One word follows another/);
    },
  },
  {
    name: "retry, copy",
    context: { permissions: ["clipboard-read", "clipboard-write"] },
    async run(page) {
      const first = await page.ask("What color is the sky?");
      const body = await page.sent("/v1/chat/completions", () => page.button("Answer again").click());
      await page.settled();
      assert.equal(await page.answers.count(), 1);
      assert.equal(body.messages.length, 1, "the question is asked afresh, without the answer it had");
      if (!page.onMock) return;
      await page.button("Copy answer").click();
      assert.equal(await page.tab.evaluate(() => navigator.clipboard.readText()), first);
    },
  },
  {
    name: "edit the last question",
    async run(page) {
      await page.attach(await sample("ducks"));
      await page.ask("How many docks are there?");
      await page.button("Edit question").click();
      assert.equal(await page.question.inputValue(), "How many docks are there?");
      assert.equal(await page.tab.locator(".thumbnail").count(), 1);
      await page.ask("How many ducks are there?");
      assert.equal(await page.tab.locator(".turn").count(), 1);
      assert.equal(await page.tab.locator(".asked").innerText(), "How many ducks are there?");
      await page.button("Edit question").click();
      await page.question.press("Escape");
      assert.equal(await page.question.inputValue(), "");
      assert.equal(await page.tab.locator(".turn").count(), 1);
    },
  },
  {
    name: "a second question carries the first",
    async run(page) {
      await page.attach(await sample("ducks"));
      const first = await page.ask("How many ducks are in the image?");
      await page.question.fill("What color is the background?");
      const { messages } = await page.sent("/v1/chat/completions", () => page.question.press("Enter"));
      await page.settled();
      assert.deepEqual(messages.map(({ role }) => role), ["user", "assistant", "user"]);
      assert.equal(messages[0].content[0].type, "image_url");
      if (page.onMock) assert.equal(messages[1].content, first);
    },
  },
  {
    name: "settings are sent, kept, and the key only in this tab",
    async run(page) {
      await page.button("Settings").click();
      const settings = page.dialog("Settings");
      await settings.getByLabel("Temperature").fill("0.3");
      await settings.getByLabel("Longest answer, in tokens").fill("12");
      await settings.getByLabel("Seed").fill("7");
      await settings.getByLabel("Adaptation steps").fill("2");
      await settings.getByLabel("System text").fill("Be brief.");
      const before = await settings.getByLabel("API key").inputValue();
      await settings.getByLabel("API key").fill(before || "sk-test");
      await page.button("Save", settings).click();
      await page.tab.reload();
      await page.question.fill("Hello");
      const request = page.tab.waitForRequest(/chat\/completions$/);
      await page.question.press("Enter");
      const body = (await request).postDataJSON();
      assert.deepEqual([body.temperature, body.max_tokens, body.seed, body.messages[0].content], [0.3, 12, 7, "Be brief."]);
      assert.equal(body.top_p, undefined, "what is not set is not sent");
      assert.equal(body.adapt, undefined, "without a picture there is nothing to adapt to");
      assert.equal((await request).headers().authorization, `Bearer ${before || "sk-test"}`);
      assert.doesNotMatch(await page.tab.evaluate(() => JSON.stringify(localStorage)), /sk-test/);
      await page.settled();
    },
  },
  {
    name: "reload, export, delete, import",
    async run(page) {
      await page.attach(await sample("snowman"));
      const said = await page.ask("What color is the snowman?");
      await page.reload();
      await page.tab.locator(".asked").waitFor();
      assert.equal(await page.tab.locator(".words").innerText(), said);

      const downloading = page.tab.waitForEvent("download");
      await exportThis(page);
      const download = await downloading;
      assert.equal(download.suggestedFilename(), "deem-what-color-is-the-snowman.json");
      const file = await readFile(await download.path());

      await page.tab.locator(".conversations li").hover();
      await page.button("Delete “What color is the snowman?”").click();
      await page.button("Delete", page.dialog("Delete this conversation?")).click();
      await page.tab.locator(".welcome").waitFor();
      assert.equal(await page.tab.locator(".conversations li").count(), 0);

      await importFile(page, file);
      await page.tab.locator(".asked").waitFor();
      assert.equal(await page.tab.locator(".words").innerText(), said);
      assert.equal(await page.tab.locator(".picture img").evaluate((image) => image.naturalWidth), 190);
      const again = page.tab.waitForEvent("download");
      await exportThis(page);
      const conversation = (buffer) => ({ ...JSON.parse(buffer).conversations[0], updated: 0 });
      assert.deepEqual(conversation(await readFile(await (await again).path())), conversation(file));
    },
  },
  {
    name: "files that hold no conversation are refused in words",
    async run(page) {
      await importFile(page, Buffer.from("no JSON"));
      await page.shows("This file is no JSON");
      await importFile(page, Buffer.from("{}"));
      await page.shows("holds no conversations of this page");
      const hostile = { id: "x", created: 0, updated: 0, turns: [{ id: "t", mode: "ask", text: "", pictures: [{ url: "https://elsewhere.example/a.png", width: 1, height: 1, name: "" }], answers: [{ model: "", parts: [], state: "done" }] }] };
      await importFile(page, Buffer.from(JSON.stringify({ format: "deem-conversations", version: 1, conversations: [hostile] })));
      await page.shows("This file is damaged");
      assert.equal(await page.tab.locator(".conversations li").count(), 0);
    },
  },
];

async function exportThis(page) {
  await page.button("Export").click();
  await page.button("This conversation", page.dialog("Export")).click();
}

async function importFile(page, buffer) {
  const choosing = page.tab.waitForEvent("filechooser");
  await page.button("Import").click();
  await (await choosing).setFiles({ name: "conversation.json", mimeType: "application/json", buffer });
}
