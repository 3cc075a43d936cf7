// Conversations as files: what is exported is what is stored, pictures included, and is checked when it comes back.

import { h } from "./dom.js";
import { Trouble } from "./errors.js";
import { titleOf } from "./conversation.js";

const FORMAT = "deem-conversations";
const VERSION = 1;

/** Text of the file that holds some conversations. */
export function exported(conversations) {
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations });
}

/** Conversations out of a file's text. */
export function imported(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Trouble("This file is no JSON: choose one that was exported here.");
  }
  if (file?.format !== FORMAT || !Array.isArray(file.conversations)) {
    throw new Trouble("This file holds no conversations of this page: choose one that was exported here.");
  }
  if (file.version > VERSION) throw new Trouble(`This file is of version ${file.version}, this page reads up to ${VERSION}: use a newer deem.`);
  return file.conversations.map(conversation);
}

/** Has the browser save conversations; the file is named after the first if there is only one. */
export function download(conversations) {
  const url = URL.createObjectURL(new Blob([exported(conversations)], { type: "application/json" }));
  const title = conversations.length === 1 ? titleOf(conversations[0]) : "conversations";
  const words = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40);
  h("a", { href: url, download: `deem-${words || "conversation"}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Each function below takes over the fields that it knows, of the type that it expects, and nothing else.

function conversation(from) {
  const id = string(from?.id, "id");
  return { id, created: number(from.created, "created"), updated: number(from.updated, "updated"), turns: list(from.turns, "turns").map(turn) };
}

function turn(from) {
  const answers = list(from.answers, "answers").map(answer);
  const mode = ["ask", "draw", "see"].find((one) => one === from.mode);
  if (!mode || (answers.length === 0 && mode !== "see")) throw wrong("a turn");
  return {
    mode, text: string(from.text, "turn.text"), pictures: list(from.pictures, "pictures").map(picture), answers,
  };
}

function picture(from) {
  const width = number(from.width, "picture.width");
  const height = number(from.height, "picture.height");
  const seen = list(from.seen ?? [], "seen").map((one) => ({
    model: string(one.model, "seen.model"), strength: number(one.strength, "seen.strength"), url: image(one.url),
  }));
  return { url: image(from.url), width, height, name: string(from.name, "picture.name"), region: from.region ? region(from.region) : null, seen };
}

function region(from) {
  const shapes = list(from.shapes, "region.shapes").map((shape) =>
    shape.kind === "box"
      ? { kind: "box", box: numbers(shape.box, 4) }
      : { kind: "brush", size: number(shape.size, "brush.size"), points: list(shape.points, "points").map((point) => numbers(point, 2)) });
  return from.box ? { shapes, box: numbers(from.box, 4) } : { shapes, mask: image(from.mask) };
}

function answer(from) {
  const state = ["done", "stopped", "failed"].includes(from.state) ? from.state : "stopped";
  const parts = list(from.parts, "parts").map((part) => (part.url ? { url: image(part.url) } : { text: string(part.text, "part.text") }));
  const trouble = from.trouble ? { message: string(from.trouble.message, "trouble.message"), kind: "model" } : null;
  return { model: string(from.model, "answer.model"), parts, state, trouble, figures: from.figures ? figures(from.figures) : null };
}

function figures(from) {
  return Object.fromEntries(Object.entries(from).filter(([, value]) => Number.isFinite(value)));
}

function image(value) {
  if (typeof value !== "string" || !/^data:image\/[a-z+.-]+;base64,/.test(value)) throw wrong("a picture");
  return value;
}

function string(value, what) {
  if (typeof value !== "string") throw wrong(what);
  return value;
}

function number(value, what) {
  if (!Number.isFinite(value)) throw wrong(what);
  return value;
}

function numbers(value, length) {
  if (!Array.isArray(value) || value.length !== length || !value.every(Number.isFinite)) throw wrong("a region");
  return value;
}

function list(value, what) {
  if (!Array.isArray(value)) throw wrong(what);
  return value;
}

function wrong(what) {
  return new Trouble(`This file is damaged (${what}): nothing was imported.`);
}
