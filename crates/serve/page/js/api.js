// The server's interface: OpenAI's, and deem's extensions to it. Knows requests and responses, no elements.

import { Trouble, troubleFrom, troubleIn, troubleOf } from "./errors.js";
import { events } from "./sse.js";

/** What a server of deem offers. Every method throws `Trouble`. */
export class Api {
  /** @param {() => string} key the API key at this moment; empty: none */
  constructor(key) {
    this.key = key;
  }

  /** Names of the models that answer here, the default first. */
  async models() {
    const { data } = await this.#json("v1/models");
    return data.map((model) => model.id);
  }

  /**
   * An answer, piece by piece.
   *
   * @param {object} request body of `POST /v1/chat/completions`, without the fields of streaming
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<{text?: string, pictures?: string[], usage?: object, finish?: string}>}
   */
  async *chat(request, signal) {
    const body = { ...request, stream: true, stream_options: { include_usage: true } };
    const response = await this.#fetch("v1/chat/completions", body, signal);
    let ended = false;
    try {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") {
          ended = true;
          break;
        }
        const chunk = JSON.parse(data);
        if (chunk.error) throw troubleIn(chunk.error);
        const [choice] = chunk.choices ?? [];
        yield {
          text: choice?.delta?.content ?? "",
          pictures: (choice?.delta?.images ?? []).map((part) => part.image_url.url),
          finish: choice?.finish_reason ?? undefined,
          usage: chunk.usage ?? undefined,
        };
      }
    } catch (error) {
      throw troubleFrom(error);
    }
    if (!ended) throw new Trouble("The connection ended before the answer did.", { kind: "network" });
  }

  /** Pictures drawn of a text, as data URLs. Body of `POST /v1/images/generations`. */
  async draw(request, signal) {
    return pictures(await this.#json("v1/images/generations", { ...request, response_format: "b64_json" }, signal));
  }

  /** What the encoder understood of a picture, as a data URL. Body of `POST /v1/restore`. */
  async restore(request, signal) {
    const [picture] = pictures(await this.#json("v1/restore", request, signal));
    return picture;
  }

  async #json(path, body, signal) {
    const response = await this.#fetch(path, body, signal);
    try {
      return await response.json();
    } catch (error) {
      throw error instanceof SyntaxError ? new Trouble("The server's answer cannot be read.") : troubleFrom(error);
    }
  }

  async #fetch(path, body, signal) {
    const headers = {};
    const key = this.key();
    if (key) headers.Authorization = `Bearer ${key}`;
    if (body) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
    } catch (error) {
      throw troubleFrom(error);
    }
    if (!response.ok) throw await troubleOf(response);
    return response;
  }
}

function pictures({ data }) {
  if (!data?.length) throw new Trouble("The server sent no picture.");
  return data.map((item) => `data:image/png;base64,${item.b64_json}`);
}
