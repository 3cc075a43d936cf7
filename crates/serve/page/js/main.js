// The page: puts its parts together and lets what one part says change the others.

import { announce, Reader } from "./announce.js";
import { Api } from "./api.js";
import { Bar } from "./bar.js";
import { Composer } from "./composer.js";
import { newAnswer, newConversation, newTurn } from "./conversation.js";
import { openDialog } from "./dialog.js";
import { button, h } from "./dom.js";
import { troubleFrom } from "./errors.js";
import { Flow } from "./flow.js";
import { History } from "./history.js";
import { chooseFiles, listenForPictures } from "./intake.js";
import { notify } from "./notice.js";
import { blobOf, pictureFrom } from "./picture.js";
import { Runner } from "./runner.js";
import { apiKey, loadSettings, openSettings, saveSettings } from "./settings.js";
import { Store } from "./store.js";
import { applyTheme } from "./theme.js";
import { download, imported } from "./transfer.js";

applyTheme();
const $ = (id) => document.getElementById(id);

const settings = loadSettings();
const api = new Api(apiKey);
const runner = new Runner(api, settings);
const store = await Store.open();
let models = [];
let conversation = newConversation();
const removed = new Set(); // conversations that an answer still under way must not bring back

const composer = new Composer({ element: $("composer"), actions: { send, stop: () => runner.stop(), see, take, cancelEdit } });
const flow = new Flow({
  element: $("flow"),
  actions: { retry, edit, enterKey: () => enterKey(retry), usePicture, trySample },
  sightContext: () => ({ api, settings, models: asked(), onchange: save, onkey: enterKey }),
});
const bar = new Bar({
  element: $("bar"), settings,
  actions: { menu: (opener) => history.open(opener), changed: settingsChanged, settings: () => showSettings(), create },
});
const history = new History({
  element: $("history"), backdrop: $("backdrop"),
  actions: { create, open, remove, save: exportFile, load: importFile },
});

listenForPictures(take);
await findModels();
await showNewest();
composer.text.focus();

/** Models that a question goes to: one, or two to compare. */
function asked() {
  return settings.compare && models.length > 1 ? [settings.model, settings.other] : [settings.model];
}

async function findModels() {
  try {
    models = await api.models();
  } catch (error) {
    const { message, kind } = troubleFrom(error);
    const remedy = kind === "key" ? ["Enter API key", () => enterKey(() => {})] : ["Try again", findModels];
    notify(message, ...remedy);
    return;
  }
  if (!models.includes(settings.model)) settings.model = models[0] ?? "";
  if (!models.includes(settings.other) || settings.other === settings.model) settings.other = models.find((id) => id !== settings.model) ?? "";
  bar.show(models);
}

function settingsChanged() {
  // Comparing a model with itself says nothing: the two change places instead.
  if (settings.other === settings.model) settings.other = models.find((id) => id !== settings.model) ?? "";
  saveSettings(settings);
  bar.show(models);
}

function showSettings(focus, then) {
  openSettings(settings, {
    models, focus,
    onsave: async () => {
      settingsChanged();
      await findModels();
      then?.();
    },
  });
}

function enterKey(then) {
  showSettings("key", then);
}

function show() {
  flow.show(conversation, { busy: runner.busy, many: models.length > 1 });
}

async function showHistory() {
  history.show(await store.titles(), conversation.id);
}

async function save() {
  if (conversation.turns.length === 0) return;
  conversation.updated = Date.now();
  if (!(await store.put(conversation))) notify("This browser has no room left for this conversation. Export it, or delete others.", "Export", () => download([conversation]));
  await showHistory();
}

async function showNewest() {
  const [newest] = await store.titles();
  if (newest) conversation = settled(await store.get(newest.id));
  show();
  flow.toEnd();
  await showHistory();
}

/** A conversation whose page was closed while it was being answered. */
function settled(stored) {
  for (const answer of stored.turns.flatMap((turn) => turn.answers)) {
    if (answer.state === "waiting" || answer.state === "streaming") answer.state = "stopped";
  }
  return stored;
}

async function leave() {
  runner.stop();
  composer.clear();
  await save();
}

async function create() {
  await leave();
  conversation = newConversation();
  show();
  await showHistory();
  composer.text.focus();
}

async function open(id) {
  if (id === conversation.id) return;
  await leave();
  conversation = settled(await store.get(id));
  show();
  flow.toEnd();
  await showHistory();
}

function remove(id) {
  openDialog({ title: "Delete this conversation?" }, (close) => ({
    body: [h("p", {}, "It is kept nowhere else, unless you exported it.")],
    footer: [
      button(null, "Keep", close),
      button("trash", "Delete", async () => {
        close();
        removed.add(id);
        await store.remove(id);
        if (id === conversation.id) {
          runner.stop();
          conversation = newConversation();
          show();
        }
        await showHistory();
        composer.text.focus();
      }, { className: "danger" }),
    ],
  }));
}

let edited = null; // the turn whose place the next question takes

function send(question) {
  const place = conversation.turns.indexOf(edited);
  if (place >= 0) conversation.turns.splice(place);
  edited = null;
  conversation.turns.push(newTurn(question, asked()));
  composer.clear();
  return answer();
}

async function answer() {
  const asking = conversation;
  const run = runner.run(asking, reporter());
  composer.setBusy(true);
  show();
  flow.toEnd();
  await save();
  await run;
  composer.setBusy(runner.busy);
  if (asking !== conversation) {
    if (!removed.has(asking.id)) await store.put(asking);
    return;
  }
  show();
  flow.toEnd();
  await save();
}

/** Shows and says what comes; of two answers only the end is said, or they would talk at the same time. */
function reporter() {
  const reader = new Reader();
  const alone = asked().length === 1;
  return (changed, { text }) => {
    flow.update(changed);
    if (text && alone) reader.add(text);
    if (changed.state !== "done") return;
    if (alone) reader.end();
    announce(alone ? "Answer complete." : `${changed.model} has answered.`);
  };
}

function retry() {
  const last = conversation.turns.at(-1);
  if (!last || runner.busy) return;
  last.answers = asked().map(newAnswer);
  composer.text.focus();
  answer();
}

function edit() {
  edited = conversation.turns.at(-1);
  composer.load(edited, { editing: true });
}

function cancelEdit() {
  edited = null;
  composer.clear();
}

async function see(picture) {
  conversation.turns.push({ ...newTurn({ mode: "see", text: "", pictures: [picture] }, []) });
  show();
  flow.toEnd();
  await save();
}

async function take(files) {
  for (const file of files) {
    try {
      composer.add(await pictureFrom(file));
    } catch (error) {
      notify(troubleFrom(error).message);
    }
  }
}

async function usePicture(url) {
  composer.add(await pictureFrom(blobOf(url), "drawn picture"));
}

async function trySample({ picture: name, alt, text, box, see: only }) {
  const blob = await (await fetch(`samples/${name}.png`)).blob();
  const picture = await pictureFrom(blob, alt);
  if (box) picture.region = { shapes: [{ kind: "box", box }], box };
  if (only) await see(picture);
  else await send({ mode: "ask", text, pictures: [picture] });
}

function exportFile() {
  openDialog({ title: "Export" }, (close) => {
    const one = button("save", "This conversation", () => {
      close();
      download([conversation]);
    }, { className: "primary", disabled: conversation.turns.length === 0 });
    const all = button("save", "All conversations", async () => {
      close();
      const titles = await store.titles();
      download(await Promise.all(titles.map(({ id }) => store.get(id))));
    });
    return { body: [h("p", {}, "A JSON file with questions, answers, pictures and regions, to be imported here or elsewhere.")], footer: [all, one] };
  });
}

function importFile() {
  chooseFiles({ accept: "application/json,.json" }, async ([file]) => {
    try {
      const all = imported(await file.text());
      for (const one of all) await store.put(one);
      await leave();
      conversation = all[0] ?? newConversation();
      show();
      flow.toEnd();
      await showHistory();
      announce("Imported.");
    } catch (error) {
      notify(troubleFrom(error).message);
    }
  });
}
