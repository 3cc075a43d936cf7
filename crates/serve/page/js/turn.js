// A question with its pictures and answers, as it stands in the flow.

import { AnswerView } from "./answer.js";
import { button, h, iconButton } from "./dom.js";
import { overlay } from "./shapes.js";
import { sight } from "./sight.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class TurnView {
  #sights = new Map(); // picture → its open panel
  #toggles = new Map(); // picture → the button that opens it

  /**
   * @param {object} turn
   * @param {{last: boolean, busy: boolean, many: boolean, actions: object, sightContext: () => object}} context
   */
  constructor(turn, { last, busy, many, actions, sightContext }) {
    this.turn = turn;
    this.sightContext = sightContext;
    this.panels = h("div", { className: "panels" });
    this.answers = turn.answers.map((answer) => new AnswerView(answer, { named: many || turn.answers.length > 1, last: last && !busy, actions }));
    const pictures = turn.pictures.map((picture) => this.#figure(picture));
    const editable = last && !busy && turn.mode !== "see";
    this.element = h("section", { className: `turn ${turn.mode}`, "aria-label": turn.text || "A picture" },
      h("div", { className: "question" },
        pictures.length > 0 && h("div", { className: "pictures" }, pictures),
        h("div", { className: "question-line" },
          editable && iconButton("edit", "Edit question", actions.edit),
          turn.text && h("p", { className: "asked" }, turn.mode === "draw" && h("span", { className: "mode-mark" }, "Draw"), turn.text))),
      this.panels,
      h("div", { className: `answers${turn.answers.length > 1 ? " two" : ""}` }, this.answers.map((view) => view.element)));
    for (const picture of turn.pictures) if (turn.mode === "see" || picture.seen.length > 0) this.open(picture, picture.seen.map((seen) => seen.model));
  }

  update(answer) {
    this.answers.find((view) => view.answer === answer)?.update();
  }

  /** Opens the panel of a picture: for the models that have drawn it before, else for those that are asked now. */
  open(picture, drawn = []) {
    const context = this.sightContext();
    const { panel, stop } = sight(picture, { ...context, models: drawn.length > 0 ? drawn : context.models });
    this.#sights.set(picture, { panel, stop });
    this.panels.append(panel);
    this.#mark(picture, true);
    return panel;
  }

  /** Stops what is being drawn in its panels. */
  leave() {
    for (const { stop } of this.#sights.values()) stop();
  }

  #figure(picture) {
    const toggle = button("eye", "What it sees", () => this.#toggle(picture), { className: "chip", "aria-expanded": "false" });
    picture.seen ??= [];
    const figure = h("figure", { className: "picture" },
      h("div", { className: "framed" }, h("img", { src: picture.url, alt: picture.name }), picture.region && overlay(picture.region, picture.width, picture.height)),
      this.turn.mode !== "see" && h("figcaption", {}, toggle));
    this.#toggles.set(picture, toggle);
    return figure;
  }

  #toggle(picture) {
    const open = this.#sights.get(picture);
    if (!open) {
      this.open(picture).scrollIntoView({ block: "nearest", behavior: CALM.matches ? "auto" : "smooth" });
      return;
    }
    open.stop();
    open.panel.remove();
    this.#sights.delete(picture);
    this.#mark(picture, false);
  }

  #mark(picture, open) {
    this.#toggles.get(picture).setAttribute("aria-expanded", String(open));
  }
}
