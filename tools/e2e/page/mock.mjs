// A stand-in for deem's server: the page, and the interface with answers that depend on what is asked.
//
//   node mock.mjs [PORT]
//
// Words in a question choose what happens: "long" streams for some seconds, "draw" draws within the answer.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { decode, encode } from "./png.mjs";

const PAGE = fileURLToPath(new URL("../../../crates/serve/page/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" };

/** What the page must work under; the server sends the same. */
export const POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob:", "connect-src 'self'",
  "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
].join("; ");

const MODELS = ["tiny", "tiny-no-feedback"];
const PAUSE = 25; // milliseconds between two pieces of an answer

/** Starts the server. @returns {Promise<{url: string, close: () => Promise<void>}>} */
export async function start(port = 0) {
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else fail(response, error.status ?? 500, error.message);
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, "http://mock");
  if (request.method === "GET" && pathname === "/v1/models") {
    json(response, { object: "list", data: MODELS.map((id) => ({ id, object: "model", owned_by: "deem" })) });
  } else if (request.method === "GET") await file(pathname, response);
  else if (pathname === "/v1/chat/completions") await chat(await body(request), response);
  else if (pathname === "/v1/images/generations") await draw(await body(request), response);
  else if (pathname === "/v1/restore") await restore(await body(request), response);
  else fail(response, 404, `no such path: ${pathname}`);
}

async function file(pathname, response) {
  const path = normalize(join(PAGE, pathname === "/" ? "index.html" : decodeURIComponent(pathname)));
  if (!path.startsWith(PAGE)) return fail(response, 404, "no such page");
  const bytes = await readFile(path).catch(() => null);
  if (!bytes) return fail(response, 404, "no such page");
  response.writeHead(200, {
    "Content-Type": TYPES[extname(path)] ?? "application/octet-stream", "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff",
  });
  return response.end(bytes);
}

async function chat({ model, messages, stream, images }, response) {
  const last = messages.at(-1).content;
  const parts = typeof last === "string" ? [{ type: "text", text: last }] : last;
  const question = parts.filter((part) => part.type === "text").map((part) => part.text).join(" ");
  const pieces = said(question, parts, messages).match(/\s*\S+/g) ?? [];
  if (!stream) return fail(response, 400, "this mock only streams");
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const head = { id: "chatcmpl-mock", object: "chat.completion.chunk", created: 0, model };
  const send = (fields) => response.write(`data: ${JSON.stringify({ ...head, ...fields })}\n\n`);
  const delta = (fields, finish = null) => send({ choices: [{ index: 0, delta: fields, finish_reason: finish }] });
  let gone = false;
  response.on("close", () => (gone = true));
  await pause(4 * PAUSE);
  delta({ role: "assistant", content: "" });
  for (const content of pieces) {
    if (gone) return undefined;
    delta({ content });
    await pause(PAUSE);
  }
  if (images === "draw" && /\bdraw\b/i.test(question)) {
    delta({ images: [{ type: "image_url", image_url: { url: `data:image/png;base64,${drawing(question, 7).toString("base64")}` } }] });
    delta({ content: "\nThere it is." });
  }
  delta({}, "stop");
  send({ choices: [], usage: { prompt_tokens: 64 + question.length, completion_tokens: pieces.length, total_tokens: 64 + question.length + pieces.length } });
  return response.end("data: [DONE]\n\n");
}

function said(question, parts, messages) {
  if (/\blong\b/i.test(question)) return "One word follows another, and so it goes on. ".repeat(40);
  const pictures = parts.filter((part) => part.type === "image_url");
  const turns = messages.filter((message) => message.role === "user").length;
  const region = pictures.map(regionInWords).filter(Boolean).join(" ");
  if (pictures.length > 0 && !region && !question.trim()) throw refusal(400, "messages: expected a question about the picture, found none");
  if (region) return `${region} In this region there is a yellow snowman with a hat.`;
  if (/how many ducks/i.test(question)) return "There are two ducks in the image. They stand to the left of a red octopus.";
  if (/background/i.test(question)) return "The background is pink.";
  if (/\bdraw\b/i.test(question)) return "Here is a drawing of what you said.";
  return `This is turn ${turns}, with ${pictures.length} ${pictures.length === 1 ? "picture" : "pictures"}. You asked: ${question}`;
}

/** What arrived as region: the tests read it from the answer. */
function regionInWords({ image_url, mask, box }) {
  const size = image_url.url.startsWith("data:image/png") ? decode(bytesOf(image_url.url)) : null;
  if (box) return `The box reaches from ${box[0]}, ${box[1]} to ${box[2]}, ${box[3]}.`;
  if (!mask) return "";
  const { width, height, at } = decode(bytesOf(mask));
  if (size && (size.width !== width || size.height !== height)) throw refusal(400, "the mask has another size than its picture");
  let marked = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [value] = at(x, y);
      if (value !== 0 && value !== 255) throw refusal(400, "the mask is not black and white");
      marked += value === 255;
    }
  }
  return `The mask of ${width} by ${height} pixels marks ${((100 * marked) / (width * height)).toFixed(1)} percent.`;
}

async function draw({ prompt, n = 1, seed = 0 }, response) {
  await pause(12 * PAUSE);
  json(response, { created: 0, data: Array.from({ length: n }, (_, index) => ({ b64_json: drawing(prompt, seed + index).toString("base64") })) });
}

/** The picture in coarse squares: coarser for the model without feedback, less so at low strength. */
async function restore({ model, image, strength }, response) {
  await pause(16 * PAUSE);
  const bytes = bytesOf(image);
  const picture = image.startsWith("data:image/png") ? decode(bytes) : { width: 64, height: 64, at: (x, y) => [x * 4, 128, y * 4] };
  const side = Math.min(picture.width, picture.height);
  const [left, top] = [(picture.width - side) >> 1, (picture.height - side) >> 1];
  const square = Math.max(1, Math.round((strength * side) / (model.includes("no-feedback") ? 8 : 22)));
  const spot = (value) => Math.min(side - 1, Math.floor(value / square) * square + (square >> 1));
  const seen = encode(side, side, (x, y) => {
    const channels = picture.at(left + spot(x), top + spot(y));
    return channels.length < 3 ? [channels[0], channels[0], channels[0]] : channels.slice(0, 3);
  });
  json(response, { data: [{ b64_json: seen.toString("base64") }] });
}

/** Coloured hills, other ones for other words. */
function drawing(words, seed) {
  const hash = [...words].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) >>> 0, seed * 7919 + 1);
  const hue = hash % 360;
  const side = 256;
  const sun = [60 + (hash % 130), 55 + ((hash >> 8) % 40)];
  return encode(side, side, (x, y) => {
    for (let hill = 1; hill <= 3; hill += 1) {
      const ridge = side - hill * 42 + 20 * Math.sin((x / side) * 5 + hill * 2 + (hash % 7)) + 8 * Math.sin(x / 17 + hill);
      if (y > ridge) return colour(hue + 20 * hill, 0.32, 0.22 + 0.14 * hill);
    }
    const distance = Math.hypot(x - sun[0], y - sun[1]);
    return distance < 26 ? colour(hue + 180, 0.75, 0.76) : colour(hue + 160, 0.35, 0.92 - 0.18 * (1 - y / side));
  });
}

function colour(hue, saturation, lightness) {
  return [0, 8, 4].map((n) => {
    const k = (n + (((hue % 360) + 360) % 360) / 30) % 12;
    return Math.round(255 * (lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

function bytesOf(url) {
  return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

async function body(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString());
}

function json(response, value) {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

function fail(response, status, message) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code: null } }));
}

function refusal(status, message) {
  return Object.assign(new Error(message), { status });
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await start(Number(process.argv[2] ?? 8090));
  process.stdout.write(`${url}\n`);
}
