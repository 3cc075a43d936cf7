// What happens, for those who listen: streamed text is spoken sentence by sentence, not token by token.

const region = document.querySelector("#announcer");
const KEPT = 20;

/** Says a sentence politely, after what is being said. */
export function announce(text) {
  const words = text.trim();
  if (!words) return;
  const line = document.createElement("p");
  line.textContent = words;
  region.append(line);
  while (region.childElementCount > KEPT) region.firstElementChild.remove();
}

/** Collects streamed text and says whole sentences. */
export class Reader {
  #rest = "";

  add(text) {
    this.#rest += text;
    const end = Math.max(...[". ", "! ", "? ", "\n"].map((mark) => this.#rest.lastIndexOf(mark)));
    if (end < 0) return;
    announce(this.#rest.slice(0, end + 1));
    this.#rest = this.#rest.slice(end + 1);
  }

  end() {
    announce(this.#rest);
    this.#rest = "";
  }
}
