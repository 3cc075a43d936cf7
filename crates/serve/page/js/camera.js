// A picture from the camera. The camera runs only while its dialog is open.

import { openDialog } from "./dialog.js";
import { button, h } from "./dom.js";

/** Whether the browser lets this page ask for a camera: only over https or on this machine. */
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia);

const REFUSALS = {
  NotAllowedError: "The camera may not be used. Allow it in the browser's settings of this page.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program uses the camera.",
};

/** @returns {Promise<Blob|undefined>} a photograph, undefined if none was taken */
export function takePhotograph() {
  return new Promise((resolve) => {
    let photograph;
    let stream;
    let closed = false;
    const video = h("video", { autoplay: true, playsInline: true, muted: true, "aria-label": "What the camera sees" });
    const said = h("p", { className: "hint", role: "status" }, "Waiting for the camera …");
    const stop = () => stream?.getTracks().forEach((track) => track.stop());
    const onclose = () => {
      closed = true;
      stop();
      resolve(photograph);
    };
    openDialog({ title: "Camera", className: "wide", onclose }, (close) => {
      const shoot = button("camera", "Take picture", async () => {
        photograph = await still(video);
        close();
      }, { className: "primary", disabled: true });
      navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then((granted) => {
        stream = granted;
        if (closed) {
          stop();
          return;
        }
        video.srcObject = stream;
        video.onloadedmetadata = () => {
          shoot.disabled = false;
          shoot.focus();
          said.textContent = "";
        };
      }, (error) => {
        said.textContent = REFUSALS[error.name] ?? `The camera does not work: ${error.message}`;
      });
      return { body: [h("div", { className: "board" }, video), said], footer: [button(null, "Cancel", close), shoot] };
    });
  });
}

function still(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
