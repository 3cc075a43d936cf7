// An answer in the flow. It grows while it streams: only what is new is added to the page.

import { textOf } from "./conversation.js";
import { button, h, iconButton } from "./dom.js";

/**
 * @param {object} answer
 * @param {{named: boolean, actions: object}} context `named`: say which model it is
 */
export class AnswerView {
  #shown = []; // the text node or figure of each part

  constructor(answer, { named, actions }) {
    this.answer = answer;
    this.changeable = false; // whether it may be asked for again
    this.actions = actions;
    this.body = h("div", { className: "words" });
    this.foot = h("div", { className: "answer-foot" });
    this.element = h("article", { className: "answer", "aria-label": `Answer of ${answer.model || "the model"}` },
      named && h("h2", { className: "model-name" }, answer.model), this.body, this.foot);
    this.update();
  }

  set({ changeable }) {
    this.changeable = changeable;
    this.update();
  }

  update() {
    const { parts, state } = this.answer;
    parts.forEach((part, index) => {
      const shown = this.#shown[index];
      if (!shown) {
        this.#shown[index] = part.url ? this.#picture(part.url) : document.createTextNode(part.text);
        this.body.append(this.#shown[index]);
      } else if (part.text !== undefined && shown.data !== part.text) shown.data = part.text;
    });
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", String(state === "waiting" || state === "streaming"));
    this.foot.replaceChildren(...this.#foot());
  }

  #foot() {
    const { state, trouble, parts, wait, figures } = this.answer;
    if (wait) return [h("p", { className: "waiting" }, `The server is busy: trying again in ${wait} s`)];
    if (state === "waiting") return [h("p", { className: "waiting" }, h("span", { className: "pulse", "aria-hidden": "true" }), h("span", { className: "unseen" }, "Waiting for the answer"))];
    if (state === "streaming") return [];
    const marks = [];
    if (state === "done" && parts.length === 0) marks.push(h("span", {}, "The model said nothing."));
    if (state === "stopped") marks.push(h("span", {}, "Stopped."));
    if (figures) marks.push(h("span", { className: "figures" }, inWords(figures)));
    const copied = textOf(this.answer);
    const tools = [
      copied && iconButton("copy", "Copy answer", (event) => copy(copied, event.currentTarget)),
      this.changeable && !trouble && iconButton("retry", "Answer again", this.actions.retry),
    ].filter(Boolean);
    return [
      trouble && h("div", { className: "trouble" }, h("p", {}, trouble.message), this.changeable && this.#remedy(trouble)),
      marks.length + tools.length > 0 && h("div", { className: "answer-line" }, marks, h("div", { className: "answer-tools" }, tools)),
    ].filter(Boolean);
  }

  #remedy({ kind }) {
    return kind === "key" ? button("key", "Enter API key", this.actions.enterKey) : button("retry", "Try again", this.actions.retry);
  }

  #picture(url) {
    return h("figure", { className: "drawn" },
      h("img", { src: url, alt: "A picture that the model drew" }),
      h("figcaption", {},
        iconButton("plus", "Ask about this picture", () => this.actions.usePicture(url)),
        iconButton("save", "Save picture", () => h("a", { href: url, download: "deem.png" }).click())));
  }
}

/** The line of figures below an answer. */
function inWords(figures) {
  const words = [];
  if (figures.tokens !== undefined) words.push(`${figures.tokens} ${figures.tokens === 1 ? "token" : "tokens"}`);
  if (figures.pictures !== undefined) words.push(`${figures.pictures} ${figures.pictures === 1 ? "picture" : "pictures"} in ${figures.seconds.toFixed(1)} s`);
  if (figures.speed !== undefined) words.push(`${figures.speed.toFixed(1)} tokens/s`);
  if (figures.first !== undefined) words.push(`first token after ${figures.first.toFixed(2)} s`);
  return words.join(" · ");
}

async function copy(text, control) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain http browsers have no clipboard for pages; the old way still works.
    const area = h("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    control.focus();
  }
  control.dataset.done = "";
  control.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    delete control.dataset.done;
    control.setAttribute("aria-label", "Copy answer");
  }, 1500);
}
