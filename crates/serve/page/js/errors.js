// Errors as a person wants to read them: what happened, and what to do.

/** Something that the server refused, or that kept us from reaching it. */
export class Trouble extends Error {
  /**
   * @param {string} message what happened and what to do, in words
   * @param {{kind?: "key"|"busy"|"network"|"stopped"|"model", status?: number, wait?: number}} more
   *   `wait`: seconds until it is worth trying again
   */
  constructor(message, { kind = "model", status = 0, wait = 0 } = {}) {
    super(message);
    this.name = "Trouble";
    this.kind = kind;
    this.status = status;
    this.wait = wait;
  }
}

const WORDS = {
  400: "The server does not understand this request.",
  404: "The server does not know this model or function.",
  408: "The server waited too long for the request.",
  413: "This is more than the server takes: use fewer or smaller pictures.",
  422: "The server cannot use something in this request.",
  500: "Something went wrong within the server. Try again; its log says more.",
  502: "The server behind this address does not answer.",
  503: "The server is not ready yet. Try again in a moment.",
  504: "The server took too long.",
};

/** Why a response is no answer. */
export async function troubleOf(response) {
  const { status } = response;
  const said = await messageIn(response);
  if (status === 401 || status === 403) {
    return new Trouble(said ? `The server wants an API key. It says: ${said}` : "The server wants an API key.", { kind: "key", status });
  }
  if (status === 429) {
    return new Trouble("The server is busy.", { kind: "busy", status, wait: secondsOf(response.headers.get("Retry-After")) });
  }
  const words = WORDS[status] ?? `The server answered with status ${status}.`;
  return new Trouble(said ? `${words} It says: ${said}` : words, { status });
}

/** Why a request came to nothing at all. */
export function troubleFrom(error) {
  if (error instanceof Trouble) return error;
  if (error?.name === "AbortError") return new Trouble("Stopped.", { kind: "stopped" });
  if (error instanceof TypeError) {
    return new Trouble("The server cannot be reached. Is it running, and is the network there?", { kind: "network" });
  }
  return new Trouble(error?.message ?? String(error));
}

/** An error that came within a stream that had begun well. */
export function troubleIn(error) {
  return new Trouble(`The model stopped. It says: ${error.message ?? "nothing"}`);
}

async function messageIn(response) {
  try {
    const { error } = JSON.parse(await response.text());
    return typeof error === "string" ? error : (error?.message ?? "");
  } catch {
    return ""; // a proxy's page, or nothing: the status has to do
  }
}

/** `Retry-After` in seconds or as a date; a second where it is missing. */
function secondsOf(header) {
  const seconds = /^\s*\d+\s*$/.test(header ?? "") ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 1), 600) : 1;
}
