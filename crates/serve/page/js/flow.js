// The flow of a conversation. It follows what is being written unless somebody has scrolled up to read.

import { announce } from "./announce.js";
import { h } from "./dom.js";
import { TurnView } from "./turn.js";
import { welcome } from "./welcome.js";

const NEAR_END = 120; // pixels

export class Flow {
  #views = [];

  /** @param {{element: HTMLElement, actions: object, sightContext: () => object}} parts */
  constructor({ element, actions, sightContext }) {
    this.element = element;
    this.context = { actions, sightContext };
    this.column = h("div", { className: "column" });
    this.welcome = welcome(actions);
    element.append(this.column);
  }

  /** Shows a conversation as it is now. Turns that stand there already stay as they are, with their open panels. */
  show({ turns }, { busy, many }) {
    const there = new Map(this.#views.map((view) => [view.turn, view]));
    this.#views = turns.map((turn) => there.get(turn) ?? new TurnView(turn, { ...this.context, many }));
    for (const [turn, view] of there) if (!turns.includes(turn)) view.remove();
    this.#views.forEach((view, index) => {
      view.set({ changeable: index === turns.length - 1 && !busy });
      if (!view.element.isConnected) this.column.append(view.element);
    });
    this.element.classList.toggle("empty", turns.length === 0);
    if (turns.length === 0) this.column.append(this.welcome);
    else this.welcome.remove();
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
    this.element.scrollTop = this.#views.length === 0 ? 0 : this.element.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }
}
