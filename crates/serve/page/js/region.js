// The dialog in which a region of a picture is marked, by pointer or by keyboard.

import { openDialog } from "./dialog.js";
import { button, h, icon } from "./dom.js";
import { marks, regionOf, shade } from "./shapes.js";

const HELP = "Keyboard: arrow keys move a cross over the picture, with Shift further; Space begins and ends a mark.";

/**
 * Lets somebody mark a region.
 *
 * @param {{url: string, width: number, height: number, name: string, region: object|null}} picture
 * @returns {Promise<object|null|undefined>} the region, null for none, undefined if it stays as it was
 */
export function markRegion(picture) {
  return new Promise((resolve) => {
    let result;
    const onclose = () => resolve(result);
    const dialog = openDialog({ title: "Mark a region", className: "wide", onclose }, (close) => {
      const board = new Board(picture);
      const finish = () => {
        result = regionOf(board.shapes, picture.width, picture.height);
        close();
      };
      return {
        body: [tools(board), h("div", { className: "board" }, board.canvas), h("p", { className: "hint for-keyboard" }, HELP)],
        footer: [button(null, "Cancel", close), button("done", "Use region", finish, { className: "primary" })],
      };
    });
    dialog.querySelector("canvas").focus();
  });
}

function tools(board) {
  const size = h("input", {
    type: "range", min: 2, max: 40, value: 10, "aria-label": "Brush size",
    oninput: () => board.setBrush(size.valueAsNumber / 100),
  });
  board.setBrush(0.1);
  const choose = (tool, label) =>
    h("label", { className: "choice" },
      h("input", { type: "radio", name: "tool", value: tool, checked: tool === board.tool, onchange: () => use(tool) }),
      icon(tool), h("span", {}, label));
  const brush = h("label", { className: "brush-size" }, h("span", {}, "Size"), size);
  const use = (tool) => {
    board.tool = tool;
    brush.hidden = tool !== "brush";
  };
  const undo = button("undo", "Undo", () => board.undo());
  const clear = button("trash", "Clear", () => board.clear());
  board.onchange = () => {
    undo.disabled = clear.disabled = board.shapes.length === 0;
  };
  board.onchange();
  return h("div", { className: "tools" },
    h("div", { className: "choices", role: "radiogroup", "aria-label": "Tool" }, choose("brush", "Brush"), choose("box", "Box")),
    brush, h("span", { className: "space" }), undo, clear);
}

/** The longer side of the board, in pixels of its own: small pictures get sharp lines, large ones are drawn fast. */
const BOARD = 1280;

/** The picture with its marks; positions are in the picture's pixels. */
class Board {
  constructor({ url, width, height, name, region }) {
    this.width = width;
    this.height = height;
    this.shapes = structuredClone(region?.shapes ?? []);
    this.tool = "brush";
    this.current = null; // the shape that is being drawn
    this.cross = null; // where the keyboard points
    this.onchange = () => {};
    this.image = new Image();
    this.image.onload = () => this.render();
    this.image.src = url;
    this.scale = BOARD / Math.max(width, height);
    this.canvas = h("canvas", {
      width: Math.round(width * this.scale), height: Math.round(height * this.scale), tabIndex: 0, role: "application", "aria-label": `${name}: mark a region`, "aria-roledescription": "drawing board",
      onpointerdown: (event) => this.#press(event),
      onpointermove: (event) => this.current && this.#extend(this.#place(event)),
      onpointerup: () => this.#end(),
      onpointercancel: () => this.#end(),
      onkeydown: (event) => this.#key(event),
      onblur: () => this.#end(),
    });
    this.canvas.style.setProperty("--ratio", width / height);
  }


  /** @param {number} share diameter of the brush as a share of the shorter side */
  setBrush(share) {
    this.brush = Math.max(1, share * Math.min(this.width, this.height));
    this.render();
  }

  undo() {
    this.shapes.pop();
    this.#changed();
  }

  clear() {
    this.shapes = [];
    this.#changed();
  }

  render() {
    if (!this.image.complete) return;
    const context = this.canvas.getContext("2d");
    const shapes = this.current ? [...this.shapes, this.current] : this.shapes;
    context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    if (shapes.length > 0) {
      shade(context, shapes, this.width, this.height);
      context.globalCompositeOperation = "destination-over";
    }
    context.drawImage(this.image, 0, 0, this.width, this.height);
    context.globalCompositeOperation = "source-over";
    const line = 3 / this.scale;
    for (const { kind, box } of shapes) if (kind === "box") outline(context, box, line);
    if (this.cross) this.#drawCross(context, line);
  }

  #drawCross(context, line) {
    const [x, y] = this.cross;
    const radius = this.tool === "brush" ? this.brush / 2 : 5 * line;
    for (const [colour, width] of [["#000", 3 * line], ["#fff", line]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.moveTo(x - 4 * line, y);
      context.lineTo(x + 4 * line, y);
      context.moveTo(x, y - 4 * line);
      context.lineTo(x, y + 4 * line);
      context.stroke();
    }
  }

  #press(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.cross = null;
    this.#begin(this.#place(event));
  }

  #key(event) {
    const step = Math.max(1, Math.min(this.width, this.height) / (event.shiftKey ? 10 : 40));
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const isPen = event.key === " ";
    if (!isPen && !moves[event.key]) return;
    event.preventDefault();
    this.cross ??= [this.width / 2, this.height / 2];
    if (isPen) {
      if (this.current) this.#end();
      else this.#begin(this.cross);
      return;
    }
    const [dx, dy] = moves[event.key];
    this.cross = [clamp(this.cross[0] + dx, this.width), clamp(this.cross[1] + dy, this.height)];
    if (this.current) this.#extend(this.cross);
    else this.render();
  }

  #begin([x, y]) {
    this.current = this.tool === "box" ? { kind: "box", box: [x, y, x, y] } : { kind: "brush", size: this.brush, points: [[x, y]] };
    this.render();
  }

  #extend([x, y]) {
    if (this.current.kind === "box") this.current.box.splice(2, 2, x, y);
    else this.current.points.push([x, y]);
    this.render();
  }

  #end() {
    if (!this.current) return;
    if (marks(this.current, this.width, this.height)) this.shapes.push(this.current);
    this.current = null;
    this.#changed();
  }

  #changed() {
    this.render();
    this.onchange();
  }

  #place(event) {
    const frame = this.canvas.getBoundingClientRect();
    return [
      clamp(((event.clientX - frame.left) / frame.width) * this.width, this.width),
      clamp(((event.clientY - frame.top) / frame.height) * this.height, this.height),
    ];
  }
}

function outline(context, [x0, y0, x1, y1], line) {
  context.strokeStyle = "#fff";
  context.lineWidth = line;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}

function clamp(value, limit) {
  return Math.min(Math.max(value, 0), limit);
}
