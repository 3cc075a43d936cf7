// The list of conversations at the side; on narrow screens a drawer.

import { button, h, iconButton } from "./dom.js";

const WIDE = matchMedia("(min-width: 60rem)");

export class History {
  /** @param {{element: HTMLElement, backdrop: HTMLElement, actions: {create, open, remove, save, load}}} parts */
  constructor({ element, backdrop, actions }) {
    this.element = element;
    this.backdrop = backdrop;
    this.actions = actions;
    this.list = h("ul", { className: "conversations" });
    element.append(
      h("div", { className: "history-head" }, h("img", { src: "icon.svg", alt: "", width: 28, height: 28 }), h("strong", {}, "deem"),
        iconButton("close", "Close list", () => this.close(), { className: "quiet narrow-only" })),
      button("plus", "New conversation", () => this.#then(actions.create), { className: "create" }),
      h("nav", { "aria-label": "Earlier conversations" }, this.list),
      h("div", { className: "history-foot" }, button("save", "Export", actions.save), button("load", "Import", actions.load)));
    backdrop.addEventListener("click", () => this.close());
    element.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    WIDE.addEventListener("change", () => this.close());
    this.close();
  }

  open(opener) {
    this.opener = opener;
    this.element.inert = false;
    this.element.classList.add("open");
    this.backdrop.hidden = false;
    this.element.querySelector("button").focus();
  }

  close() {
    const was = this.element.classList.contains("open");
    this.element.classList.remove("open");
    this.element.inert = !WIDE.matches;
    this.backdrop.hidden = true;
    if (was) this.opener?.focus();
  }

  /**
   * @param {{id: string, title: string}[]} titles
   * @param {string} current identifier of the conversation that is shown
   */
  show(titles, current) {
    this.list.replaceChildren(...titles.map(({ id, title }) => h("li", {},
      h("button", {
        type: "button", className: "conversation", title, "aria-current": id === current ? "true" : null,
        onclick: () => this.#then(() => this.actions.open(id)),
      }, title),
      iconButton("trash", `Delete “${title}”`, () => this.actions.remove(id)))));
  }

  #then(act) {
    this.close();
    act();
  }
}
