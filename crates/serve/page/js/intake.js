// The ways in for pictures: dropped on the page, pasted, or chosen as files.

import { h } from "./dom.js";

/**
 * Hands pictures that are dropped or pasted anywhere on the page to `take`.
 *
 * @param {(files: File[]) => void} take
 */
export function listenForPictures(take) {
  let depth = 0; // dragenter and dragleave also come from every element within
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => carriesFiles(event) && mark(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && mark(-1));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length === 0) return;
    event.preventDefault();
    take(files);
  });
}

/** Opens the file dialog. */
export function chooseFiles({ accept, multiple = false }, take) {
  const input = h("input", { type: "file", accept, multiple, onchange: () => take([...input.files]) });
  input.click();
}

function carriesFiles(event) {
  return event.dataTransfer?.types.includes("Files");
}
