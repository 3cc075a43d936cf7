// Where a question is written: text, pictures with regions, and whether it is asked or drawn.

import { h, icon, iconButton } from "./dom.js";
import { hasCamera, takePhotograph } from "./camera.js";
import { chooseFiles } from "./intake.js";
import { notify } from "./notice.js";
import { markRegion } from "./region.js";
import { overlay } from "./shapes.js";

const PLACEHOLDERS = { ask: "Ask about a picture, or anything", draw: "Describe a picture to draw" };

export class Composer {
  #pictures = [];
  #editing = false;

  /** @param {{element: HTMLElement, actions: {send, stop, see, take, cancelEdit}}} parts */
  constructor({ element, actions }) {
    this.actions = actions;
    this.tray = h("ul", { className: "tray", hidden: true, "aria-label": "Pictures of this question" });
    this.text = h("textarea", {
      id: "question", rows: 1, "aria-label": "Question", placeholder: PLACEHOLDERS.ask,
      onkeydown: (event) => this.#key(event), oninput: () => this.#fit(),
    });
    this.editNote = h("p", { className: "edit-note", hidden: true }, h("span", {}, "Editing the last question"),
      h("button", { type: "button", className: "link", onclick: () => actions.cancelEdit() }, "Cancel"));
    const mode = (value, label) => h("label", { className: "choice" },
      h("input", { type: "radio", name: "mode", value, checked: value === "ask", onchange: () => this.#setMode(value) }), h("span", {}, label));
    this.modes = h("div", { className: "choices", role: "radiogroup", "aria-label": "What to do" }, mode("ask", "Ask"), mode("draw", "Draw"));
    this.submit = h("button", { type: "submit", className: "send" });
    this.adders = h("div", { className: "adders" },
      iconButton("plus", "Add pictures", () => chooseFiles({ accept: "image/*", multiple: true }, actions.take)),
      hasCamera && iconButton("camera", "Take a picture", async () => {
        const photograph = await takePhotograph();
        if (photograph) actions.take([new File([photograph], "photograph", { type: photograph.type })]);
      }));
    this.form = h("form", { className: "composer-form", onsubmit: (event) => this.#submit(event) },
      this.editNote, this.tray, this.text,
      h("div", { className: "composer-line" }, this.adders, this.modes, h("span", { className: "space" }), this.submit));
    element.append(this.form);
    this.setBusy(false);
  }

  get mode() {
    return this.form.elements.mode.value;
  }

  /** Puts a question into the composer, to be changed or sent. */
  load({ text, pictures, mode }, { editing = false } = {}) {
    this.text.value = text;
    this.#pictures = pictures.map((picture) => ({ ...picture }));
    this.form.elements.mode.value = mode;
    this.#editing = editing;
    this.editNote.hidden = !editing;
    this.#setMode(mode);
    this.#showTray();
    this.#fit();
    this.text.focus();
  }

  clear() {
    this.load({ text: "", pictures: [], mode: this.mode });
  }

  add(picture) {
    this.#pictures.push(picture);
    this.form.elements.mode.value = "ask";
    this.#setMode("ask");
    this.#showTray();
    this.text.focus();
  }

  setBusy(busy) {
    this.busy = busy;
    const label = busy ? "Stop" : "Send";
    this.submit.replaceChildren(icon(busy ? "stop" : "send"));
    this.submit.title = label;
    this.submit.setAttribute("aria-label", label);
    this.submit.classList.toggle("stopping", busy);
  }

  #submit(event) {
    event.preventDefault();
    if (this.busy) {
      this.actions.stop();
      return;
    }
    const text = this.text.value.trim();
    const pictures = this.mode === "draw" ? [] : this.#pictures;
    if (!text && !pictures.some((picture) => picture.region)) {
      if (pictures.length > 0) notify("Ask something about the picture, or mark a region to have it described.");
      this.text.focus();
      return;
    }
    this.actions.send({ mode: this.mode, text, pictures });
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!this.busy) this.form.requestSubmit();
    } else if (event.key === "Escape") {
      if (this.busy) this.actions.stop();
      else if (this.#editing) this.actions.cancelEdit();
    }
  }

  /** Lets the field grow with its text where style sheets alone cannot do it. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
  }

  #setMode(mode) {
    this.text.placeholder = PLACEHOLDERS[mode];
    this.adders.hidden = mode === "draw";
    this.tray.hidden = mode === "draw" || this.#pictures.length === 0;
  }

  #showTray() {
    this.tray.replaceChildren(...this.#pictures.map((picture, index) => this.#thumbnail(picture, index)));
    this.#setMode(this.mode);
  }

  #thumbnail(picture, index) {
    const mark = async () => {
      const region = await markRegion(picture);
      if (region !== undefined) this.#pictures[index] = { ...picture, region, seen: [] };
      this.#showTray();
      this.tray.children[index]?.querySelector("button").focus();
    };
    const remove = () => {
      this.#pictures.splice(index, 1);
      this.#showTray();
      this.text.focus();
    };
    return h("li", { className: "thumbnail" },
      h("div", { className: "framed" }, h("img", { src: picture.url, alt: picture.name }), picture.region && overlay(picture.region, picture.width, picture.height)),
      h("div", { className: "thumbnail-tools" },
        iconButton("region", picture.region ? "Change region" : "Mark a region", mark, picture.region ? { "data-on": "" } : {}),
        iconButton("eye", "What it sees", () => this.actions.see({ ...picture, seen: [] })),
        iconButton("close", `Remove ${picture.name}`, remove)));
  }
}
