// What a region is made of: brush strokes and boxes in the picture's pixels, and how they are painted.
//
//   stroke { kind: "brush", size, points: [[x, y]] }      size: diameter in pixels
//   box    { kind: "box", box: [x0, y0, x1, y1] }         corners in any order while it is drawn

/** A box with its corners in order and within the picture, in whole pixels. */
export function tidy([x0, y0, x1, y1], width, height) {
  const within = (value, limit) => Math.round(Math.min(Math.max(value, 0), limit));
  return [
    within(Math.min(x0, x1), width),
    within(Math.min(y0, y1), height),
    within(Math.max(x0, x1), width),
    within(Math.max(y0, y1), height),
  ];
}

/** Whether a shape marks any pixel. */
export function marks(shape, width, height) {
  if (shape.kind === "brush") return shape.points.length > 0;
  const [x0, y0, x1, y1] = tidy(shape.box, width, height);
  return x1 > x0 && y1 > y0;
}

/** Fills shapes on a canvas whose units are the picture's pixels. */
export function paint(context, shapes, colour) {
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const shape of shapes) {
    if (shape.kind === "box") {
      const [x0, y0, x1, y1] = shape.box;
      context.fillRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
      continue;
    }
    const [[x, y], ...others] = shape.points;
    context.lineWidth = shape.size;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x, y); // a stroke of no length is a dot
    for (const [nextX, nextY] of others) context.lineTo(nextX, nextY);
    context.stroke();
  }
}

/**
 * A region as it is sent: one box alone as `box`, everything else as `mask`, black and white in the picture's size.
 * Null if nothing is marked.
 */
export function regionOf(shapes, width, height) {
  const marking = shapes.filter((shape) => marks(shape, width, height));
  if (marking.length === 0) return null;
  if (marking.length === 1 && marking[0].kind === "box") {
    const box = tidy(marking[0].box, width, height);
    return { shapes: [{ kind: "box", box }], box };
  }
  return { shapes: marking, mask: maskOf(marking, width, height) };
}

/** A canvas that shows a region over its picture, to be laid over it. */
export function overlay({ shapes }, width, height) {
  const canvas = document.createElement("canvas");
  const scale = Math.min(1, 640 / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.className = "overlay";
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  shade(context, shapes, width, height);
  return canvas;
}

/** Darkens everything but the shapes. */
export function shade(context, shapes, width, height) {
  context.fillStyle = "rgb(10 14 18 / 62%)";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  paint(context, shapes, "#000");
  context.globalCompositeOperation = "source-over";
}

function maskOf(shapes, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  paint(context, shapes, "#fff");
  // Soft edges of strokes become hard ones: a pixel belongs to the region or does not.
  const pixels = context.getImageData(0, 0, width, height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const value = pixels.data[i] > 127 ? 255 : 0;
    pixels.data.fill(value, i, i + 3);
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL("image/png");
}
