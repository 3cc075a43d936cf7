// Two pictures in one frame: the nearer one is cut at a line that a pointer or the arrow keys move.

import { h, icon } from "./dom.js";

/**
 * @param {{before: string, after: string, label: string}} pictures URLs, and words for the slider
 * @returns {HTMLElement}
 */
export function split({ before, after, label }) {
  const frame = h("div", { className: "split" },
    h("img", { src: after, alt: "" }),
    h("img", { src: before, alt: "", className: "before" }),
    h("span", { className: "line", "aria-hidden": "true" }),
    h("span", { className: "knob", "aria-hidden": "true" }, icon("split")));
  const slider = h("input", { type: "range", min: 0, max: 100, value: 0, "aria-label": label });
  const move = () => {
    frame.style.setProperty("--cut", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} percent of the picture itself`);
  };
  slider.addEventListener("input", move);
  move();
  frame.append(slider);
  return frame;
}
