// A server that is busy says when to come back; this waits as told, and says how long it still takes.

import { Trouble } from "./errors.js";

const TRIES = 4;

/**
 * The result of `attempt`, tried again while the server is busy.
 *
 * @param {() => Promise<T>} attempt
 * @param {{signal: AbortSignal, onwait: (seconds: number) => void}} options `onwait`: 0 once the waiting is over
 * @returns {Promise<T>}
 * @template T
 */
export async function patiently(attempt, { signal, onwait }) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Trouble) || error.kind !== "busy") throw error;
      if (left === 1) throw new Trouble("The server is still busy. Try again later.", { kind: "busy", status: error.status });
      for (let seconds = error.wait; seconds > 0; seconds -= 1) {
        onwait(seconds);
        await second(signal);
      }
      onwait(0);
    }
  }
}

function second(signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}
