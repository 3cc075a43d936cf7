// Dialogs: the browser's own element brings the focus trap, Escape and the way back; this adds a common frame.

import { freshId, h, iconButton } from "./dom.js";

/**
 * Opens a dialog with a title, content and buttons; it is removed when it closes.
 *
 * @param {{title: string, className?: string, onclose?: () => void}} options
 * @param {(close: () => void) => {body: Node[], footer?: Node[]}} build
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, className = "", onclose }, build) {
  const heading = h("h2", { id: freshId("title") }, title);
  const dialog = h("dialog", { className: `dialog ${className}`, "aria-labelledby": heading.id });
  const close = () => dialog.close();
  const { body, footer } = build(close);
  dialog.append(
    h("div", { className: "dialog-head" }, heading, iconButton("close", "Close", close)),
    h("div", { className: "dialog-body" }, body),
    ...(footer ? [h("div", { className: "dialog-foot" }, footer)] : []),
  );
  // A press beside the dialog closes it, a drag that began inside does not.
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target === dialog) close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
