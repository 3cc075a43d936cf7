// A line above the composer that says what went wrong outside of any answer.

import { button, h, iconButton } from "./dom.js";

const place = h("div", { className: "notices", role: "alert" });
document.getElementById("composer").append(place);

/** Shows a message, with a remedy if there is one. */
export function notify(message, remedy, act) {
  const close = () => place.replaceChildren();
  const run = () => {
    close();
    act();
  };
  place.replaceChildren(h("div", { className: "notice" }, h("p", {}, message), remedy && button(null, remedy, run), iconButton("close", "Dismiss", close)));
}
