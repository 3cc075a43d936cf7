// Elements without a framework: one function builds them, one draws an icon.

import { PATHS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/** Properties that elements have but do not let anyone set. */
const ATTRIBUTES = new Set(["form", "list"]);

/**
 * An element. Properties that begin with `on` are listeners, those with a dash are attributes; children that are
 * null or false are left out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || ATTRIBUTES.has(name) || !(name in element)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** One of the line icons; decoration only, its button carries the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon and says `label` to those who cannot see it. */
export function iconButton(name, label, onclick, properties = {}) {
  return h("button", { type: "button", className: "quiet", title: label, "aria-label": label, onclick, ...properties }, icon(name));
}

/** A button with an icon and words. */
export function button(name, label, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, name ? icon(name) : null, h("span", {}, label));
}

let counter = 0;

/** An identifier that no other element of the page has. */
export function freshId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** A label, its control and a line of help. */
export function field(label, control, help) {
  control.id ||= freshId("field");
  const hint = help ? h("p", { className: "hint", id: `${control.id}-hint` }, help) : null;
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return h("div", { className: "field" }, h("label", { htmlFor: control.id }, label), control, hint);
}
