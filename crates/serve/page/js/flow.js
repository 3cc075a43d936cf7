// The flow of a conversation. It follows what is being written unless somebody has scrolled up to read.

import { announce } from "./announce.js";
import { h } from "./dom.js";
import { TurnView } from "./turn.js";
import { welcome } from "./welcome.js";

const NEAR_END = 120;

export class Flow {
  #views = [];

  /** @param {{element: HTMLElement, actions: object, sightContext: () => object}} parts */
  constructor({ element, actions, sightContext }) {
    this.element = element;
    this.actions = actions;
    this.sightContext = sightContext;
    this.column = h("div", { className: "column" });
    element.append(this.column);
  }

  /** Shows a conversation as it is now. */
  show(conversation, { busy, many }) {
    for (const view of this.#views) view.leave();
    const { turns } = conversation;
    this.#views = turns.map((turn, index) =>
      new TurnView(turn, { last: index === turns.length - 1, busy, many, actions: this.actions, sightContext: this.sightContext }));
    this.element.classList.toggle("empty", turns.length === 0);
    this.column.replaceChildren(...(turns.length === 0 ? [welcome(this.actions)] : this.#views.map((view) => view.element)));
  }

  /** Shows what is new in an answer. */
  update(answer) {
    const follow = this.#isAtEnd();
    for (const view of this.#views) view.update(answer);
    if (follow) this.toEnd();
    if (answer.trouble) announce(answer.trouble.message);
  }

  /** Scrolls to what came last; the welcome is read from its beginning. */
  toEnd() {
    if (this.#views.length === 0) this.element.scrollTop = 0;
    else this.element.scrollTop = this.element.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }
}
