// Has models answer: one request for each answer of a turn, all stopped by one button.

import { append, chatRequest, drawRequest } from "./conversation.js";
import { Trouble, troubleFrom } from "./errors.js";
import { patiently } from "./patience.js";

/** What is being answered at the moment. */
export class Runner {
  #abort = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {object} settings
   */
  constructor(api, settings) {
    this.api = api;
    this.settings = settings;
  }

  get busy() {
    return this.#abort !== null;
  }

  /** Stops whatever runs; what has come so far stays. */
  stop() {
    this.#abort?.abort();
  }

  /**
   * Answers the last turn of a conversation, by each model that its answers name.
   *
   * @param {object} conversation
   * @param {(answer: object, news: {text?: string}) => void} changed after each piece of an answer
   */
  async run(conversation, changed) {
    const abort = new AbortController();
    this.#abort = abort;
    const turn = conversation.turns.at(-1);
    await Promise.all(turn.answers.map((answer) => this.#answer(conversation, turn, answer, abort.signal, changed)));
    if (this.#abort === abort) this.#abort = null;
  }

  async #answer(conversation, turn, answer, signal, changed) {
    const ask = turn.mode === "draw" ? this.#draw : this.#chat;
    const onwait = (seconds) => {
      answer.wait = seconds;
      changed(answer, {});
    };
    try {
      await patiently(() => ask.call(this, conversation, turn, answer, signal, changed), { signal, onwait });
      answer.state = "done";
    } catch (error) {
      const trouble = troubleFrom(error);
      answer.state = trouble.kind === "stopped" ? "stopped" : "failed";
      answer.trouble = trouble.kind === "stopped" ? null : { message: trouble.message, kind: trouble.kind };
    }
    delete answer.wait;
    changed(answer, {});
  }

  async #chat(conversation, _turn, answer, signal, changed) {
    const began = performance.now();
    let first;
    let usage;
    for await (const piece of this.api.chat(chatRequest(conversation, answer.model, this.settings), signal)) {
      usage = piece.usage ?? usage;
      if (!piece.text && piece.pictures.length === 0) continue;
      first ??= performance.now();
      answer.state = "streaming";
      if (piece.text) append(answer, { text: piece.text });
      for (const url of piece.pictures) append(answer, { url });
      changed(answer, { text: piece.text });
    }
    answer.figures = figures(began, first, performance.now(), usage);
  }

  async #draw(_conversation, turn, answer, signal) {
    const began = performance.now();
    if (!turn.text) throw new Trouble("Say in words what is to be drawn.");
    const urls = await this.api.draw(drawRequest(turn, answer.model, this.settings), signal);
    for (const url of urls) append(answer, { url });
    answer.figures = { pictures: urls.length, seconds: (performance.now() - began) / 1000 };
  }
}

/** Seconds until the first token, tokens, tokens per second after the first. */
function figures(began, first, ended, usage) {
  const found = { seconds: (ended - began) / 1000 };
  if (first !== undefined) found.first = (first - began) / 1000;
  if (usage) {
    found.prompt = usage.prompt_tokens;
    found.tokens = usage.completion_tokens;
    if (found.tokens > 1 && ended > first) found.speed = ((found.tokens - 1) * 1000) / (ended - first);
  }
  return found;
}
