// The page: puts its parts together and lets what one part says change the others.

import { announce, Reader } from "./announce.js";
import { Api } from "./api.js";
import { Bar } from "./bar.js";
import { Composer } from "./composer.js";
import { newAnswer, newTurn } from "./conversation.js";
import { troubleFrom } from "./errors.js";
import { Flow } from "./flow.js";
import { History } from "./history.js";
import { chooseFiles, listenForPictures } from "./intake.js";
import { Library } from "./library.js";
import { notify } from "./notice.js";
import { blobOf, pictureFrom } from "./picture.js";
import { Runner } from "./runner.js";
import { apiKey, loadSettings, openSettings, saveSettings } from "./settings.js";
import { applyTheme } from "./theme.js";

applyTheme();
const $ = (id) => document.getElementById(id);

const settings = loadSettings();
const api = new Api(apiKey);
const runner = new Runner(api, settings);
let models = [];
let edited = null; // the turn whose place the next question takes

const library = new Library({
  onshow: showConversation,
  onlist: (titles, current) => history.show(titles, current),
  onfull: () => notify("This browser has no room left. Export this conversation, or delete others.", "Export", () => library.askToExport()),
});
const composer = new Composer({ element: $("composer"), actions: { send, stop: () => runner.stop(), see, take, cancelEdit } });
const flow = new Flow({
  element: $("flow"),
  actions: { retry, edit, enterKey: () => enterKey(retry), usePicture, trySample },
  sightContext: () => ({ api, settings, models: asked(), onchange: () => library.keep(), onkey: enterKey }),
});
const bar = new Bar({
  element: $("bar"), settings,
  actions: { menu: (opener) => history.open(opener), changed: settingsChanged, settings: () => showSettings(), create: () => library.create() },
});
const history = new History({
  element: $("history"), backdrop: $("backdrop"),
  actions: {
    create: () => library.create(),
    open: (id) => library.open(id),
    remove: (id) => library.askToRemove(id),
    save: () => library.askToExport(),
    load: importFile,
  },
});

listenForPictures(take);
await findModels();
await library.start();

// Models and settings

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
  settingsChanged();
}

function settingsChanged() {
  // Comparing a model with itself says nothing: of two, the other one takes its place.
  if (!models.includes(settings.other) || settings.other === settings.model) settings.other = models.find((id) => id !== settings.model) ?? "";
  saveSettings(settings);
  bar.show(models);
}

function showSettings(focus, then) {
  openSettings(settings, {
    models, focus,
    onsave: async () => {
      await findModels();
      then?.();
    },
  });
}

function enterKey(then) {
  showSettings("key", then);
}

// The conversation that is shown

function showConversation() {
  runner.stop();
  edited = null;
  composer.clear();
  show();
  flow.toEnd();
}

function show() {
  flow.show(library.current, { busy: runner.busy, many: models.length > 1 });
}

function send(question) {
  const { turns } = library.current;
  const place = turns.indexOf(edited);
  if (place >= 0) turns.splice(place);
  edited = null;
  turns.push(newTurn(question, asked()));
  composer.clear();
  return answer();
}

/** Has the last turn answered. Meanwhile another conversation may be opened: this one is kept all the same. */
async function answer() {
  const conversation = library.current;
  const run = runner.run(conversation, reporter());
  composer.setBusy(true);
  show();
  flow.toEnd();
  await library.keep(conversation);
  await run;
  composer.setBusy(runner.busy);
  if (conversation === library.current) show();
  await library.keep(conversation);
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
  const last = library.current.turns.at(-1);
  if (!last || runner.busy) return;
  last.answers = asked().map(newAnswer);
  composer.text.focus();
  answer();
}

function edit() {
  edited = library.current.turns.at(-1);
  composer.load(edited, { editing: true });
}

function cancelEdit() {
  edited = null;
  composer.clear();
}

async function see(picture) {
  library.current.turns.push(newTurn({ mode: "see", text: "", pictures: [picture] }, []));
  show();
  flow.toEnd();
  await library.keep();
}

// Pictures and files on their way in

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

function importFile() {
  chooseFiles({ accept: "application/json,.json" }, async ([file]) => {
    try {
      await library.import(await file.text());
      announce("Imported.");
    } catch (error) {
      notify(troubleFrom(error).message);
    }
  });
}
