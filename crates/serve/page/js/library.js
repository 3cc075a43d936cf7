// The conversations that there are, and the one that is shown.

import { newConversation } from "./conversation.js";
import { openDialog } from "./dialog.js";
import { button, h } from "./dom.js";
import { Store } from "./store.js";
import { download, imported } from "./transfer.js";

export class Library {
  #store;
  #removed = new Set(); // an answer still under way must not bring these back
  current = newConversation();

  /** @param {{onshow: () => void, onlist: (titles: object[], current: string) => void, onfull: () => void}} listeners */
  constructor(listeners) {
    this.listeners = listeners;
  }

  /** Opens the browser's database and shows the newest conversation. */
  async start() {
    this.#store = await Store.open();
    const [newest] = await this.#store.titles();
    await this.#show(newest ? await this.#store.get(newest.id) : newConversation());
  }

  /** Shows an empty conversation. */
  create() {
    return this.#show(newConversation());
  }

  async open(id) {
    if (id !== this.current.id) await this.#show(await this.#store.get(id));
  }

  /** Keeps a conversation as it is now, unless it was deleted meanwhile. */
  async keep(conversation = this.current) {
    if (conversation.turns.length === 0 || this.#removed.has(conversation.id)) return;
    conversation.updated = Date.now();
    if (!(await this.#store.put(conversation))) this.listeners.onfull();
    await this.#list();
  }

  /** Asks whether a conversation is to be deleted. */
  askToRemove(id) {
    openDialog({ title: "Delete this conversation?" }, (close) => {
      const remove = async () => {
        close();
        this.#removed.add(id);
        await this.#store.remove(id);
        if (id === this.current.id) await this.create();
        else await this.#list();
      };
      return {
        body: [h("p", {}, "It is kept nowhere else, unless you exported it.")],
        footer: [button(null, "Keep", close), button("trash", "Delete", remove, { className: "danger" })],
      };
    });
  }

  /** Asks which conversations are to be saved as a file. */
  askToExport() {
    openDialog({ title: "Export" }, (close) => {
      const save = async (conversations) => {
        close();
        download(await conversations);
      };
      const isEmpty = this.current.turns.length === 0;
      return {
        body: [h("p", {}, "A JSON file with questions, answers, pictures and regions, to be imported here or elsewhere.")],
        footer: [
          button("save", "All conversations", () => save(this.#all())),
          button("save", "This conversation", () => save([this.current]), { className: "primary", disabled: isEmpty }),
        ],
      };
    });
  }

  /** Takes over the conversations of an exported file and shows the first. Throws `Trouble` if it cannot be read. */
  async import(text) {
    const conversations = imported(text);
    for (const conversation of conversations) {
      this.#removed.delete(conversation.id);
      if (!(await this.#store.put(conversation))) this.listeners.onfull();
    }
    await this.#show(conversations[0] ?? newConversation());
  }

  async #all() {
    const titles = await this.#store.titles();
    return Promise.all(titles.map(({ id }) => this.#store.get(id)));
  }

  async #show(conversation) {
    this.current = settled(conversation);
    this.listeners.onshow();
    await this.#list();
  }

  async #list() {
    this.listeners.onlist(await this.#store.titles(), this.current.id);
  }
}

/** A conversation whose page was closed while it was being answered. */
function settled(conversation) {
  for (const answer of conversation.turns.flatMap((turn) => turn.answers)) {
    if (answer.state === "waiting" || answer.state === "streaming") answer.state = "stopped";
  }
  return conversation;
}
