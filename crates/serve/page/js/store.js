// Conversations in the browser's own database; nothing leaves the machine. Without a database (private windows of
// some browsers) they live as long as the page.

import { titleOf } from "./conversation.js";

const NAME = "deem";
const CONVERSATIONS = "conversations";
const TITLES = "titles"; // apart, so that the list does not read every picture of every conversation

/** Conversations by identifier. */
export class Store {
  #database;
  #memory = new Map();

  /** @returns {Promise<Store>} */
  static async open() {
    const store = new Store();
    try {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => {
        for (const table of [CONVERSATIONS, TITLES]) request.result.createObjectStore(table, { keyPath: "id" });
      };
      store.#database = await result(request);
    } catch {
      store.#database = null;
    }
    return store;
  }

  /** @returns {Promise<{id: string, title: string, updated: number}[]>} the latest first */
  async titles() {
    const titles = this.#database ? await result(this.#table(TITLES).getAll()) : [...this.#memory.values()].map(entry);
    return titles.sort((a, b) => b.updated - a.updated);
  }

  async get(id) {
    return this.#database ? result(this.#table(CONVERSATIONS).get(id)) : structuredClone(this.#memory.get(id));
  }

  /** @returns {Promise<boolean>} whether it is kept: false if the browser has no room left */
  async put(conversation) {
    if (!this.#database) {
      this.#memory.set(conversation.id, structuredClone(conversation));
      return true;
    }
    try {
      await this.#write((table) => (table === TITLES ? ["put", entry(conversation)] : ["put", conversation]));
      return true;
    } catch {
      return false;
    }
  }

  async remove(id) {
    this.#memory.delete(id);
    if (this.#database) await this.#write(() => ["delete", id]);
  }

  #table(name) {
    return this.#database.transaction(name).objectStore(name);
  }

  /** One change to each table, both or none. Lack of room shows when the transaction ends. */
  #write(change) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction([CONVERSATIONS, TITLES], "readwrite");
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
      for (const name of [CONVERSATIONS, TITLES]) {
        const [method, value] = change(name);
        transaction.objectStore(name)[method](value);
      }
    });
  }
}

function entry(conversation) {
  return { id: conversation.id, title: titleOf(conversation), updated: conversation.updated };
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
