// Server-sent events out of a response's body: only `data:` matters to OpenAI's protocol.

/**
 * The data of each event of a stream, in order. Lines may end in LF, CR LF or CR, and an event may be cut anywhere
 * between two pieces of the body, also within a character.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<string>}
 */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += done ? "\n\n" : value;
      // A CR at the very end may be half of a CR LF: it waits for the next piece.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (line === "" && data.length > 0) {
          yield data.join("\n");
          data = [];
        }
      }
      if (done) return;
    }
  } finally {
    // Whoever stops listening hangs up, so that the server may stop working.
    await reader.cancel().catch(() => {});
  }
}
