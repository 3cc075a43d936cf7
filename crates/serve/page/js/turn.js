// A question with its pictures and answers, as it stands in the flow.

import { AnswerView } from "./answer.js";
import { button, h, iconButton } from "./dom.js";
import { overlay } from "./shapes.js";
import { sight } from "./sight.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

export class TurnView {
  #panels = new Map(); // picture → what is open below its turn
  #toggles = new Map(); // picture → the button that opens it
  #answers = [];

  /**
   * @param {object} turn
   * @param {{many: boolean, actions: object, sightContext: () => object}} context `many`: there are several models
   */
  constructor(turn, { many, actions, sightContext }) {
    this.turn = turn;
    this.many = many;
    this.actions = actions;
    this.sightContext = sightContext;
    const pictures = turn.pictures.map((picture) => this.#figure(picture)); // of a "see" turn, the panel alone is shown
    this.editor = iconButton("edit", "Edit question", actions.edit);
    this.panels = h("div", { className: "panels" });
    this.answers = h("div", { className: "answers" });
    this.element = h("section", { className: `turn ${turn.mode}`, "aria-label": turn.text || "A picture" },
      turn.mode !== "see" && h("div", { className: "question" },
        pictures.length > 0 && h("div", { className: "pictures" }, pictures),
        h("div", { className: "question-line" },
          this.editor,
          turn.text && h("p", { className: "asked" }, turn.mode === "draw" && h("span", { className: "mode-mark" }, "Draw"), turn.text))),
      this.panels,
      this.answers);
    for (const picture of turn.pictures) {
      if (turn.mode === "see" || picture.seen.length > 0) this.#open(picture, picture.seen.map((seen) => seen.model));
    }
  }

  /** @param {{changeable: boolean}} state `changeable`: the question may be edited, its answers asked for again */
  set({ changeable }) {
    this.editor.hidden = !changeable;
    const { answers } = this.turn;
    if (answers.length !== this.#answers.length || answers.some((answer, index) => this.#answers[index].answer !== answer)) {
      this.#answers = answers.map((answer) => new AnswerView(answer, { named: this.many || answers.length > 1, actions: this.actions }));
      this.answers.classList.toggle("two", answers.length > 1);
      this.answers.replaceChildren(...this.#answers.map((view) => view.element));
    }
    for (const view of this.#answers) view.set({ changeable });
  }

  /** Shows what is new in an answer, if it is one of this turn. */
  update(answer) {
    this.#answers.find((view) => view.answer === answer)?.update();
  }

  /** Takes the turn off the page; what is being drawn in its panels is stopped. */
  remove() {
    for (const { stop } of this.#panels.values()) stop();
    this.element.remove();
  }

  #figure(picture) {
    const toggle = button("eye", "What it sees", () => this.#toggle(picture), { className: "chip", "aria-expanded": "false" });
    this.#toggles.set(picture, toggle);
    return h("figure", { className: "picture" },
      h("div", { className: "framed" }, h("img", { src: picture.url, alt: picture.name }), picture.region && overlay(picture.region, picture.width, picture.height)),
      h("figcaption", {}, toggle));
  }

  #toggle(picture) {
    const open = this.#panels.get(picture);
    if (!open) {
      this.#open(picture).scrollIntoView({ block: "nearest", behavior: CALM.matches ? "auto" : "smooth" });
      return;
    }
    open.stop();
    open.panel.remove();
    this.#panels.delete(picture);
    this.#toggles.get(picture).setAttribute("aria-expanded", "false");
  }

  /** Opens the panel of a picture: for the models that have drawn it before, else for those that are asked now. */
  #open(picture, drawn = []) {
    const context = this.sightContext();
    const open = sight(picture, { ...context, models: drawn.length > 0 ? drawn : context.models });
    this.#panels.set(picture, open);
    this.panels.append(open.panel);
    this.#toggles.get(picture).setAttribute("aria-expanded", "true");
    return open.panel;
  }
}
