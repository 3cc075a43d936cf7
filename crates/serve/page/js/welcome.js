// What somebody meets who has five minutes: what this is, and three things to try.

import { h } from "./dom.js";
import { overlay } from "./shapes.js";
import { MEANING } from "./sight.js";

const SIDE = 190; // of the sample pictures, in pixels

/** `box`: a region of the sample picture, in its pixels; without a text, the server asks for a description of it. */
const SAMPLES = [
  { picture: "ducks", alt: "Two ducks and an octopus", title: "Ask about a picture", text: "How many ducks are in the image?" },
  { picture: "snowman", alt: "A snowman and a car upside down", title: "Point at a part", text: "", hint: "Mark a region, and it is described.", box: [104, 4, 182, 98] },
  { picture: "house", alt: "A house upside down", title: "See what it sees", hint: "What has the encoder kept of this house?", see: true },
];

export function welcome(actions) {
  return h("div", { className: "welcome" },
    h("h2", {}, "Show it a picture, and ask."),
    h("p", { className: "lead" }, MEANING),
    h("ul", { className: "samples" }, SAMPLES.map((sample) => h("li", {},
      h("button", { type: "button", className: "sample", onclick: () => actions.trySample(sample) },
        h("div", { className: "framed" },
          h("img", { src: `samples/${sample.picture}.png`, alt: sample.alt, width: SIDE, height: SIDE }),
          sample.box && overlay({ shapes: [{ kind: "box", box: sample.box }] }, SIDE, SIDE)),
        h("strong", {}, sample.title),
        h("span", {}, sample.text || sample.hint))))),
    h("p", { className: "hint" }, "Or drop, paste or choose a picture of your own. Conversations stay in this browser. Drawings above: Noto Emoji (Apache-2.0), Twemoji (CC-BY-4.0)."));
}
