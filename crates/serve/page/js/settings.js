// Settings: kept in this browser, the API key only until the tab is closed. What is left empty is the server's choice.

import { openDialog } from "./dialog.js";
import { button, field, h } from "./dom.js";

const KEY = "deem.settings";
const API_KEY = "deem.key";

const DEFAULTS = {
  model: "", other: "", compare: false, system: "", temperature: null, top_p: null, max_tokens: null, seed: null,
  images: true, adapt: null, draw_n: 1, steps: null, guidance: null,
};

/** Numbers that may be set: name, words, bounds, help. */
const TEXT_NUMBERS = [
  ["temperature", "Temperature", { min: 0, max: 2, step: 0.1 }, "0 takes the most probable word each time."],
  ["top_p", "Top p", { min: 0.01, max: 1, step: 0.01 }, "Share of probability to choose from."],
  ["max_tokens", "Longest answer, in tokens", { min: 1, step: 1 }],
  ["seed", "Seed", { min: 0, step: 1 }, "The same seed gives the same answer and the same picture."],
  ["adapt", "Adaptation steps", { min: 0, max: 100, step: 1 }, "The encoder first adapts to the picture, by feedback of the diffusion model."],
];
const DRAWING_NUMBERS = [
  ["draw_n", "Pictures at once", { min: 1, max: 8, step: 1 }],
  ["steps", "Denoising steps", { min: 1, max: 200, step: 1 }, "More are finer and slower."],
  ["guidance", "Guidance", { min: 0, max: 30, step: 0.5 }, "How closely a drawing follows its words; 1 is none."],
];

export function loadSettings() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY)) };
  } catch {
    return { ...DEFAULTS };
  }
}

export function saveSettings(settings) {
  localStorage.setItem(KEY, JSON.stringify(settings));
}

export function apiKey() {
  return sessionStorage.getItem(API_KEY) ?? "";
}

/**
 * Opens the settings.
 *
 * @param {object} settings changed in place when saved
 * @param {{models: string[], focus?: "key", onsave: () => void}} options
 */
export function openSettings(settings, { models, focus, onsave }) {
  const controls = {};
  const number = ([name, label, bounds, help]) => {
    controls[name] = h("input", { type: "number", inputMode: "decimal", placeholder: "server’s choice", ...bounds, value: settings[name] ?? "" });
    return field(label, controls[name], help);
  };
  controls.model = h("select", {}, models.map((id) => h("option", { value: id, selected: id === settings.model }, id)));
  controls.system = h("textarea", { rows: 2, value: settings.system });
  controls.images = h("input", { type: "checkbox", checked: settings.images, role: "switch" });
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: false, value: apiKey() });

  openDialog({ title: "Settings", className: "settings" }, (close) => {
    const save = (event) => {
      event.preventDefault();
      if (!form.reportValidity()) return;
      for (const [name, control] of Object.entries(controls)) settings[name] = valueOf(control);
      saveSettings(settings);
      sessionStorage.setItem(API_KEY, key.value.trim());
      close();
      onsave();
    };
    const form = h("form", { id: "settings-form", onsubmit: save, noValidate: true },
      h("fieldset", {}, h("legend", {}, "Connection"),
        field("Model", controls.model),
        field("API key", key, "Forgotten when this tab is closed.")),
      h("fieldset", {}, h("legend", {}, "Answers"),
        h("div", { className: "wide-field" }, field("System text", controls.system, "What the model is told before every conversation.")),
        TEXT_NUMBERS.map(number),
        h("label", { className: "switch" }, controls.images, h("span", {}, "The model may draw within its answers"))),
      h("fieldset", {}, h("legend", {}, "Drawing"), DRAWING_NUMBERS.map(number)));
    return {
      body: [form],
      footer: [button(null, "Cancel", close), h("button", { type: "submit", className: "primary", form: "settings-form" }, "Save")],
    };
  });
  (focus === "key" ? key : controls.model).focus();
}

function valueOf(control) {
  if (control.type === "checkbox") return control.checked;
  if (control.type === "number") return control.value === "" ? null : control.valueAsNumber;
  return control.value;
}
