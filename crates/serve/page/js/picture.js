// Pictures on their way into a conversation: turned upright, scaled down, re-encoded, kept as data URLs.

import { Trouble } from "./errors.js";

/** The longer side of what is sent, in pixels. */
export const LONGEST = 2048;

/** Formats that the server reads; others are re-encoded if the browser can read them. */
const KEPT = ["image/png", "image/jpeg", "image/webp"];

/** Formats that may be transparent or hold drawings: they are not re-encoded with losses. */
const EXACT = ["image/png", "image/gif", "image/webp", "image/svg+xml"];

/**
 * A picture for a conversation out of a file. Small ones are kept byte for byte unless they have to be turned.
 *
 * @param {Blob} blob
 * @returns {Promise<{url: string, width: number, height: number, name: string, region: null, seen: []}>}
 */
export async function pictureFrom(blob, name = blob.name ?? "picture") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new Trouble(`“${name}” is no picture that this browser can read. PNG, JPEG, WebP and GIF are.`);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const keep = scale === 1 && KEPT.includes(blob.type) && !(await isTurned(blob));
  const url = keep ? await dataUrl(blob) : encode(bitmap, width, height, blob.type);
  bitmap.close();
  return { url, width, height, name, region: null, seen: [] };
}

/** The bytes of a data URL. (A strict policy forbids to `fetch` one.) */
export function blobOf(url) {
  const [, type, base64] = /^data:([^;,]+);base64,(.*)$/s.exec(url) ?? [];
  if (type === undefined) throw new Trouble("This is no picture.");
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type });
}

/** A blob as data URL. */
export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

function encode(bitmap, width, height, type) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return EXACT.includes(type) ? canvas.toDataURL("image/png") : canvas.toDataURL("image/jpeg", 0.92);
}

/** Whether a JPEG says in its EXIF data that it lies on a side: the server would read its pixels as they lie. */
async function isTurned(blob) {
  if (blob.type !== "image/jpeg") return false;
  const view = new DataView(await blob.slice(0, 256 * 1024).arrayBuffer());
  for (let at = 2; at + 4 < view.byteLength; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint16(at);
    if (marker === 0xffe1 && view.getUint32(at + 4) === 0x45786966) return orientation(view, at + 10) > 1;
    if ((marker & 0xff00) !== 0xff00 || marker === 0xffda) return false;
  }
  return false;
}

/** Orientation (1 to 8) in the TIFF header at an offset; 1 where there is none. */
function orientation(view, tiff) {
  const little = view.getUint16(tiff) === 0x4949;
  const directory = tiff + view.getUint32(tiff + 4, little);
  if (directory + 2 > view.byteLength) return 1;
  const entries = view.getUint16(directory, little);
  for (let entry = directory + 2; entry + 12 <= view.byteLength && entry < directory + 2 + entries * 12; entry += 12) {
    if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
  }
  return 1;
}
