// Pictures: their ways in, regions, drawings, what the models see of them.

import assert from "node:assert/strict";
import { decode } from "../png.mjs";
import { halves, sample } from "../page.mjs";

export const pictures = [
  {
    name: "region with the brush",
    async run(page) {
      await page.attach(halves(400, 200));
      const dialog = await openRegion(page);
      await drag(page, [[0.25, 0.5], [0.3, 0.5], [0.4, 0.6]]);
      await page.button("Use region", dialog).click();
      const body = await sendAndRead(page, "What is here?");
      const [{ mask, box }] = body.messages.at(-1).content;
      assert.equal(box, undefined);
      const { width, height, at } = decode(Buffer.from(mask.split(",")[1], "base64"));
      assert.deepEqual([width, height], [400, 200], "the mask has the picture's own size");
      assert.equal(at(110, 100)[0], 255, "where the brush went");
      assert.equal(at(300, 100)[0], 0, "where it did not");
      if (page.onMock) assert.match(await page.answers.last().innerText(), /The mask of 400 by 200 pixels marks [1-9]\.\d percent/);
    },
  },
  {
    name: "region with a box",
    async run(page) {
      await page.attach(halves(400, 200));
      const dialog = await openRegion(page);
      await dialog.getByRole("radio", { name: "Box" }).check();
      await drag(page, [[0.75, 0.75], [0.3, 0.3], [0.25, 0.25]]);
      await page.button("Use region", dialog).click();
      const body = await sendAndRead(page, "What is here?");
      const [{ mask, box }] = body.messages.at(-1).content;
      assert.equal(mask, undefined);
      for (const [found, expected] of box.map((value, index) => [value, [100, 50, 300, 150][index]])) {
        assert.ok(Number.isInteger(found) && Math.abs(found - expected) <= 1, `box ${box}`);
      }
    },
  },
  {
    name: "region: undo, clear, by keyboard alone",
    async run(page) {
      await page.attach(halves(400, 200));
      const dialog = await openRegion(page);
      await drag(page, [[0.1, 0.1], [0.2, 0.2]]);
      await page.button("Undo", dialog).click();
      assert.ok(await page.button("Undo", dialog).isDisabled());
      await drag(page, [[0.1, 0.1], [0.2, 0.2]]);
      await drag(page, [[0.5, 0.1], [0.6, 0.2]]);
      await page.button("Clear", dialog).click();
      await dialog.getByRole("radio", { name: "Box" }).check();
      await dialog.locator("canvas").focus();
      for (const key of ["Space", "Shift+ArrowRight", "Shift+ArrowDown", "ArrowDown", "Space"]) await page.tab.keyboard.press(key);
      await page.button("Use region", dialog).click();
      const body = await sendAndRead(page, "What is here?");
      assert.deepEqual(body.messages.at(-1).content[0].box, [200, 100, 220, 125]);
    },
  },
  {
    name: "large pictures are scaled down, and their regions with them",
    async run(page) {
      await page.attach(halves(3000, 1500));
      const dialog = await openRegion(page);
      await drag(page, [[0.2, 0.2], [0.8, 0.8]]);
      await page.button("Use region", dialog).click();
      const body = await sendAndRead(page, "What is here?");
      const [{ image_url, mask }] = body.messages.at(-1).content;
      for (const url of [image_url.url, mask]) {
        const { width, height } = decode(Buffer.from(url.split(",")[1], "base64"));
        assert.deepEqual([width, height], [2048, 1024]);
      }
    },
  },
  {
    name: "a photograph that lies on its side is turned upright",
    async run(page) {
      const base64 = await page.tab.evaluate(() => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 120, height: 60 });
        return canvas.toDataURL("image/jpeg").split(",")[1];
      });
      const jpeg = Buffer.from(base64, "base64");
      // APP1 with one entry: orientation 6, a quarter turn.
      const exif = Buffer.from("ffe1002245786966000049492a00080000000100120103000100000006000000" + "00000000", "hex");
      const buffer = Buffer.concat([jpeg.subarray(0, 2), exif, jpeg.subarray(2)]);
      await page.attach({ name: "turned.jpg", mimeType: "image/jpeg", buffer });
      const size = await page.tab.locator(".thumbnail img").evaluate((image) => [image.naturalWidth, image.naturalHeight]);
      assert.deepEqual(size, [60, 120]);
      const body = await sendAndRead(page, "What is this?");
      const { url } = body.messages.at(-1).content[0].image_url;
      assert.ok(!Buffer.from(url.split(",")[1], "base64").includes("Exif"), "the pixels themselves are turned");
    },
  },
  {
    name: "pictures come by drop, paste and camera",
    context: { permissions: ["camera"] },
    async run(page) {
      const { buffer } = await sample("house");
      for (const kind of ["drop", "paste"]) {
        await page.tab.evaluate(([event, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(bytes)], `${event}.png`, { type: "image/png" }));
          const made = event === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          document.querySelector("#flow").dispatchEvent(made);
        }, [kind, [...buffer]]);
        await page.tab.getByRole("img", { name: `${kind}.png` }).waitFor();
      }
      await page.button("Take a picture").click();
      await page.tab.locator("dialog button.primary:enabled").click();
      await page.tab.getByRole("img", { name: "photograph" }).waitFor();
      assert.equal(await page.tab.locator(".thumbnail").count(), 3);
      await page.button("Remove drop.png").click();
      assert.equal(await page.tab.locator(".thumbnail").count(), 2);
    },
  },
  {
    name: "what is no picture is refused in words",
    async run(page) {
      const choosing = page.tab.waitForEvent("filechooser");
      await page.button("Add pictures").click();
      await (await choosing).setFiles({ name: "notes.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
      await page.shows("“notes.png” is no picture that this browser can read");
    },
  },
  {
    name: "a picture needs a question or a region",
    async run(page) {
      await page.attach(await sample("ducks"));
      await page.question.press("Enter");
      await page.shows("Ask something about the picture, or mark a region");
      assert.equal(await page.tab.locator(".turn").count(), 0);
    },
  },
  {
    name: "a picture drawn of words",
    async run(page) {
      await page.button("Settings").click();
      await page.dialog("Settings").getByLabel("Pictures at once").fill("2");
      await page.dialog("Settings").getByLabel("Denoising steps").fill("4");
      await page.button("Save").click();
      await page.tab.getByRole("radio", { name: "Draw" }).check();
      await page.question.fill("two red apples above a bus");
      const body = await page.sent("/v1/images/generations", () => page.question.press("Enter"));
      await page.settled();
      assert.deepEqual([body.prompt, body.n, body.steps], ["two red apples above a bus", 2, 4]);
      assert.equal(await page.tab.locator(".drawn img").count(), 2);
      await page.tab.locator(".drawn").first().getByRole("button", { name: "Ask about this picture" }).click();
      await page.tab.getByRole("img", { name: "drawn picture" }).waitFor();
    },
  },
  {
    name: "a picture that the model draws within its answer",
    needs: { mock: true },
    async run(page) {
      await page.ask("Please draw a hill");
      const answer = page.answers.last();
      assert.equal(await answer.locator(".drawn img").count(), 1);
      assert.match(await answer.locator(".words").innerText(), /Here is a drawing[\s\S]*There it is\./);
      await page.question.fill("And now?");
      const body = await page.sent("/v1/chat/completions", () => page.question.press("Enter"));
      assert.deepEqual(body.messages[1].content.map((part) => part.type), ["text", "image_url", "text"]);
      assert.equal(body.images, "draw");
      await page.settled();
    },
  },
  {
    name: "what it sees: restoration, strength, before and after",
    async run(page) {
      await page.attach(await sample("ducks"));
      await page.ask("How many ducks are there?");
      const first = await page.sent("/v1/restore", () => page.button("What it sees").click());
      assert.match(first.image, /^data:image\/png/);
      assert.equal(first.strength, 1);
      const split = page.tab.locator(".split");
      await split.waitFor();
      const one = await split.locator("img").first().getAttribute("src");

      const compare = page.tab.getByRole("slider", { name: /before and after/ });
      await compare.fill("40");
      assert.match(await split.locator(".before").evaluate((image) => getComputedStyle(image).clipPath), /60%/);

      const strength = page.tab.getByRole("slider", { name: "Strength" });
      const second = await page.sent("/v1/restore", () => strength.fill("0.3"));
      assert.equal(second.strength, 0.3);
      await page.tab.waitForFunction((before) => {
        const image = document.querySelector(".split img");
        return image && image.src !== before;
      }, one);
      await page.tab.reload();
      await page.tab.locator(".split").waitFor();
      assert.equal(await page.tab.getByRole("slider", { name: "Strength" }).inputValue(), "0.3", "restorations stay with the conversation");
    },
  },
  {
    name: "what it sees stays open while an answer ends",
    needs: { mock: true },
    async run(page) {
      await page.attach(await sample("ducks"));
      await page.question.fill("How many ducks are there?");
      await page.question.press("Enter");
      await page.button("What it sees").click();
      await page.settled();
      await page.tab.locator(".split").waitFor();
      assert.equal(await page.button("What it sees").getAttribute("aria-expanded"), "true");
      await page.button("What it sees").click();
      assert.equal(await page.tab.locator(".sight").count(), 0);
    },
  },
  {
    name: "samples of the welcome",
    async run(page) {
      const first = await page.sent("/v1/chat/completions", () => page.tab.getByRole("button", { name: /Point at a part/ }).click());
      assert.equal(first.messages[0].content.length, 1, "a region without a question");
      assert.deepEqual(first.messages[0].content[0].box, [104, 4, 182, 98]);
      await page.settled();
      await page.button("New conversation").click();
      const second = await page.sent("/v1/restore", () => page.tab.getByRole("button", { name: /See what it sees/ }).click());
      assert.match(second.image, /^data:image\/png/);
      await page.tab.locator(".split").waitFor();
      await page.button("New conversation").click();
      await page.tab.getByRole("button", { name: /Ask about a picture/ }).click();
      await page.settled();
    },
  },
  {
    name: "two models side by side",
    needs: { models: 2 },
    async run(page) {
      await page.tab.getByRole("switch", { name: "Compare" }).check();
      await page.attach(await sample("ducks"));
      const asked = [];
      page.tab.on("request", (request) => /completions|restore/.test(request.url()) && asked.push(request.postDataJSON().model));
      await page.ask("How many ducks are there?");
      assert.deepEqual(asked.sort(), page.models.slice(0, 2).sort());
      assert.equal(await page.answers.count(), 2);
      const [left, right] = [await page.answers.nth(0).boundingBox(), await page.answers.nth(1).boundingBox()];
      assert.ok(left.x + left.width <= right.x && left.y === right.y, "the answers stand side by side");
      await page.button("What it sees").click();
      await page.tab.locator(".split").nth(1).waitFor();
      assert.deepEqual(asked.slice(2).sort(), page.models.slice(0, 2).sort());
    },
  },
];

async function openRegion(page) {
  await page.button("Mark a region").click();
  const dialog = page.dialog("Mark a region");
  await dialog.locator("canvas").waitFor();
  await page.tab.waitForTimeout(50);
  return dialog;
}

/** Drags over the board; places are shares of its width and height. */
async function drag(page, places) {
  const { x, y, width, height } = await page.tab.locator("dialog canvas").boundingBox();
  const [first, ...others] = places.map(([across, down]) => [x + across * width, y + down * height]);
  await page.tab.mouse.move(...first);
  await page.tab.mouse.down();
  for (const place of others) await page.tab.mouse.move(...place, { steps: 5 });
  await page.tab.mouse.up();
}

async function sendAndRead(page, text) {
  await page.question.fill(text);
  const body = await page.sent("/v1/chat/completions", () => page.question.press("Enter"));
  await page.settled();
  return body;
}
