// "What it sees": a picture beside what the diffusion model draws from what the encoder understood of it.

import { announce } from "./announce.js";
import { restoreRequest } from "./conversation.js";
import { button, field, h } from "./dom.js";
import { troubleFrom } from "./errors.js";
import { patiently } from "./patience.js";
import { overlay } from "./shapes.js";
import { split } from "./split.js";

export const MEANING = "“What it sees” is the picture that the diffusion model draws from what the encoder understood: what is missing from it, the model has not seen.";

const FIRST_STRENGTH = 1;

/**
 * A panel for one picture; it asks each model at once, and again when the strength changes. Results are kept in
 * `picture.seen`.
 *
 * @param {object} picture
 * @param {{api: object, settings: object, models: string[], onchange: () => Promise<void>, onkey: (again: () => void) => void}} context
 */
export function sight(picture, { api, settings, models, onchange, onkey }) {
  const views = models.map((model) => ({ model, box: h("div", { className: "seen", "aria-live": "off" }), abort: null }));
  const strength = h("input", { type: "range", min: 0.1, max: 1, step: 0.05, value: picture.seen.at(-1)?.strength ?? FIRST_STRENGTH });
  const shown = h("output", { "aria-hidden": "true" }, strength.valueAsNumber.toFixed(2));

  const show = (view) => {
    const seen = picture.seen.find((one) => one.model === view.model);
    if (!seen) return;
    view.box.replaceChildren(split({ before: picture.url, after: seen.url, label: `Picture and what ${view.model} sees, before and after` }));
  };
  const ask = async (view) => {
    view.abort?.abort();
    const abort = new AbortController();
    view.abort = abort;
    view.box.replaceChildren(waiting("Drawing what it sees …"));
    const onwait = (seconds) => view.box.replaceChildren(waiting(seconds ? `The server is busy: again in ${seconds} s` : "Drawing what it sees …"));
    const request = restoreRequest(picture, view.model, strength.valueAsNumber, settings);
    try {
      const url = await patiently(() => api.restore(request, abort.signal), { signal: abort.signal, onwait });
      picture.seen = [...picture.seen.filter((one) => one.model !== view.model), { model: view.model, strength: request.strength, url }];
      await onchange(); // what is shown is kept: a reload right after it shows it again
      if (view.abort !== abort) return;
      show(view);
      announce(`${view.model}: what it sees is drawn.`);
    } catch (error) {
      const trouble = troubleFrom(error);
      if (trouble.kind === "stopped") return;
      announce(trouble.message);
      const again = () => ask(view);
      const remedy = trouble.kind === "key" ? button("key", "Enter API key", () => onkey(again)) : button("retry", "Try again", again);
      view.box.replaceChildren(h("div", { className: "trouble" }, h("p", {}, trouble.message), remedy));
    }
  };
  const askAll = () => views.forEach(ask);
  strength.addEventListener("input", () => (shown.textContent = strength.valueAsNumber.toFixed(2)));
  strength.addEventListener("change", askAll);

  for (const view of views) {
    if (picture.seen.some((one) => one.model === view.model)) show(view);
    else ask(view);
  }
  const original = h("div", { className: "framed" }, h("img", { src: picture.url, alt: picture.name }), picture.region && overlay(picture.region, picture.width, picture.height));
  const sights = h("div", { className: "sights" },
    h("figure", {}, original, h("figcaption", {}, "The picture")),
    views.map((view) => h("figure", {}, view.box, h("figcaption", {}, models.length > 1 ? `What ${view.model} sees` : "What the model sees"))));
  sights.style.setProperty("--count", views.length + 1);
  const panel = h("section", { className: "sight", "aria-label": `What it sees: ${picture.name}` },
    sights,
    h("div", { className: "strength" },
      shown, field("Strength", strength, "At 1 all of it comes from the encoder; lower values start from the picture."),
      button("retry", "Draw again", askAll)),
    h("p", { className: "hint" }, MEANING, " Drag across it to compare with the picture."));
  return { panel, stop: () => views.forEach((view) => view.abort?.abort()) };
}

function waiting(words) {
  return h("div", { className: "waiting" }, h("span", { className: "pulse", "aria-hidden": "true" }), h("span", {}, words));
}
