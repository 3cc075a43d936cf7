// A conversation is a plain value: it is stored, exported and sent as it stands here.
//
//   conversation  { id, created, updated, turns: [turn] }
//   turn          { mode: "ask" | "draw" | "see", text, pictures: [picture], answers: [answer] }
//   picture       { url, width, height, name, region: null | region, seen: [{ model, strength, url }] }
//   region        { shapes, mask: data URL } | { shapes, box: [x0, y0, x1, y1] }, in the picture's pixels
//   answer        { model, parts: [{ text } | { url }], state, trouble: null | { message, kind }, figures }
//   state         "waiting" | "streaming" | "done" | "stopped" | "failed"

/** An empty conversation. */
export function newConversation() {
  const now = Date.now();
  return { id: crypto.randomUUID?.() ?? `${now}-${Math.random()}`, created: now, updated: now, turns: [] };
}

/** A question with room for one answer of each model. */
export function newTurn({ mode, text, pictures }, models) {
  return { mode, text, pictures, answers: models.map(newAnswer) };
}

/** An answer that is yet to come. */
export function newAnswer(model) {
  return { model, parts: [], state: "waiting", trouble: null, figures: null };
}

/** Adds streamed text or a drawn picture to an answer, in the order in which they came. */
export function append(answer, { text, url }) {
  const last = answer.parts.at(-1);
  if (url) answer.parts.push({ url });
  else if (last?.text !== undefined) last.text += text;
  else answer.parts.push({ text });
}

/** What was said, without pictures. */
export function textOf(answer) {
  return answer.parts.map((part) => part.text ?? "").join("");
}

/** A few words by which a conversation is found again. */
export function titleOf(conversation) {
  const first = conversation.turns[0];
  if (!first) return "New conversation";
  const words = first.text.trim().replace(/\s+/g, " ") || first.pictures[0]?.name || "A picture";
  return words.length > 60 ? `${words.slice(0, 59)}…` : words;
}

/** Body of the chat request that has `model` answer a conversation's last turn. */
export function chatRequest(conversation, model, settings) {
  const messages = [];
  if (settings.system.trim()) messages.push({ role: "system", content: settings.system });
  const earlier = conversation.turns.slice(0, -1).filter((turn) => turn.mode === "ask");
  for (const turn of earlier) {
    // A model reads its own answers; where it has none, those of the model that was asked then.
    const answer = turn.answers.find((one) => one.model === model) ?? turn.answers[0];
    if (answer.parts.length === 0) continue;
    messages.push({ role: "user", content: questionParts(turn) }, { role: "assistant", content: answerParts(answer) });
  }
  const asked = conversation.turns.at(-1);
  messages.push({ role: "user", content: questionParts(asked) });
  return prune({
    model,
    messages,
    temperature: settings.temperature,
    top_p: settings.top_p,
    max_tokens: settings.max_tokens,
    seed: settings.seed,
    images: settings.images ? "draw" : null,
    adapt: asked.pictures.length > 0 ? settings.adapt || null : null, // there must be something to adapt to
  });
}

/** Body of the request that has `model` draw a turn's text. */
export function drawRequest(turn, model, settings) {
  return prune({ model, prompt: turn.text, n: settings.draw_n, seed: settings.seed, steps: settings.steps, guidance: settings.guidance });
}

/**
 * Body of the request that has `model` show what it sees of a picture. The guidance that is set is that of drawings
 * from words; here are none.
 */
export function restoreRequest(picture, model, strength, { steps, seed }) {
  return prune({ model, image: picture.url, ...regionFields(picture.region), strength, steps, seed });
}

function questionParts(turn) {
  const pictures = turn.pictures.map(({ url, region }) => ({ type: "image_url", image_url: { url }, ...regionFields(region) }));
  return [...pictures, ...(turn.text ? [{ type: "text", text: turn.text }] : [])];
}

function answerParts({ parts }) {
  if (parts.every((part) => part.url === undefined)) return parts.map((part) => part.text).join("");
  return parts.map(({ text, url }) => (url ? { type: "image_url", image_url: { url } } : { type: "text", text }));
}

function regionFields(region) {
  if (!region) return {};
  return region.box ? { box: region.box } : { mask: region.mask };
}

/** What is not set is not sent: the server's own default holds. */
function prune(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}
