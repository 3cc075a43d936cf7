// The bar at the top: which model answers, whether two are compared, colours, settings.

import { h, icon, iconButton } from "./dom.js";
import { nextTheme, theme, THEMES } from "./theme.js";

export class Bar {
  /** @param {{element: HTMLElement, settings: object, actions: {menu, changed, settings, create}}} parts */
  constructor({ element, settings, actions }) {
    this.settings = settings;
    this.actions = actions;
    this.models = h("div", { className: "models" });
    this.theme = iconButton("contrast", "", () => {
      nextTheme();
      this.#showTheme();
    });
    element.append(
      iconButton("menu", "Conversations", (event) => actions.menu(event.currentTarget), { className: "quiet narrow-only" }),
      this.models, h("span", { className: "space" }),
      iconButton("plus", "New conversation", actions.create, { className: "quiet narrow-only" }),
      this.theme, iconButton("settings", "Settings", actions.settings));
    this.#showTheme();
  }

  /** Shows the models that there are; a single one is only named. */
  show(models) {
    const { settings } = this;
    if (models.length < 2) {
      this.models.replaceChildren(h("span", { className: "model-name" }, models[0] ?? ""));
      return;
    }
    const select = (name, label) => h("select", {
      "aria-label": label,
      onchange: (event) => {
        settings[name] = event.target.value;
        this.actions.changed();
      },
    }, models.map((id) => h("option", { value: id, selected: id === settings[name] }, id)));
    const compare = h("input", {
      type: "checkbox", role: "switch", checked: settings.compare,
      onchange: () => {
        settings.compare = compare.checked;
        this.actions.changed();
        this.models.querySelector("[role=switch]").focus();
      },
    });
    this.models.replaceChildren(
      select("model", "Model"),
      settings.compare ? select("other", "Second model") : "",
      h("label", { className: "switch", title: "Compare two models" }, compare, icon("compare"), h("span", {}, "Compare")));
  }

  #showTheme() {
    const { icon: name, label } = THEMES[theme()] ?? THEMES.system;
    const fresh = iconButton(name, label, () => {});
    this.theme.replaceChildren(...fresh.childNodes);
    this.theme.title = label;
    this.theme.setAttribute("aria-label", label);
  }
}
