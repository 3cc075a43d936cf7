// Conversations in the browser's own database; nothing leaves the machine. Without a database (private windows of
// some browsers) they live as long as the page.

const NAME = "deem";
const TABLE = "conversations";

/** Conversations by identifier. */
export class Store {
  #database;
  #memory = new Map();

  /** @returns {Promise<Store>} */
  static async open() {
    const store = new Store();
    try {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
      store.#database = await result(request);
    } catch {
      store.#database = null;
    }
    return store;
  }

  /** All conversations, the latest first. */
  async all() {
    const all = this.#database ? await result(this.#table("readonly").getAll()) : [...this.#memory.values()];
    return all.sort((a, b) => b.updated - a.updated);
  }

  /** @returns {Promise<boolean>} whether it is kept: false if the browser has no room left */
  async put(conversation) {
    const copy = structuredClone(conversation);
    if (!this.#database) {
      this.#memory.set(copy.id, copy);
      return true;
    }
    try {
      await result(this.#table("readwrite").put(copy));
      return true;
    } catch {
      return false;
    }
  }

  async remove(id) {
    this.#memory.delete(id);
    if (this.#database) await result(this.#table("readwrite").delete(id));
  }

  #table(mode) {
    return this.#database.transaction(TABLE, mode).objectStore(TABLE);
  }
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    // Quota errors come when the transaction ends, not from the request.
    if (request.transaction?.mode === "readwrite") {
      request.onsuccess = null;
      request.transaction.oncomplete = () => resolve(request.result);
      request.transaction.onabort = () => reject(request.transaction.error);
    }
  });
}
