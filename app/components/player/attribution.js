// Attribution maps of one pane: asked of the server, kept by step; starting, watching and cancelling the task that makes them.

import { address, fetched } from "./source.js";
import { cancel, follow } from "./task.js";

// What is explained, as analysis.attribution.target reads it, or the sentence that says why nothing is.
export function targetOf(bundle, query, dimensions) {
  const [kind, ...rest] = query.split(".");
  const name = rest.join(".");
  if (kind === "action") return actionTarget(bundle, name, dimensions);
  const words = kind === "rationale" ? bundle.words.filter((word) => !name || word.names.includes(name)) : bundle.words.slice(Number(name), Number(name) + 1);
  if (kind !== "rationale" && kind !== "word") return { why: "Choose an action or a word that the policy wrote: it is what is explained." };
  if (!words.length) return { why: "This checkpoint did not write these words here: choose an action." };
  return tokens(words[0].index, words[words.length - 1].index);
}

function actionTarget(bundle, name, dimensions) {
  if (!dimensions.length) {
    const { words } = bundle;
    return words.length ? tokens(words[0].index, words[words.length - 1].index) : { why: "The model wrote nothing here." };
  }
  if (!name || dimensions.includes(name)) return { target: name || "action" };
  const step = /^step (\d+)(?: (.+))?$/.exec(name);
  if (step) return { target: `${step[2] ?? "action"}${Number(step[1]) ? `@${Number(step[1])}` : ""}` };
  const token = bundle.generated.find((each) => each.part === "action" && each.names.includes(name));
  return token ? tokens(token.index, token.index) : { why: `There is no action “${name}” at this step.` };
}

function tokens(first, last) {
  return { target: first === last ? `token:${first}` : `token:${first}-${last}` };
}

// "masks=64;fill=blur" <-> { masks: "64", fill: "blur" }
export function readSettings(text) {
  return Object.fromEntries(text.split(";").filter((pair) => pair.includes("=")).map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
}

export function writeSettings(settings) {
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`).join(";");
}

export class PaneAttribution {
  // about: { base, asked: parameters that name episode and checkpoint, dimensions: () => names of the action }
  constructor(about, onChange) {
    this.about = about;
    this.onChange = onChange;
    this.key = "";
    this.forget();
  }

  forget() {
    this.maps = new Map();
    this.steps = new Set();
    this.pending = new Set();
    this.complaint = "";
    this.task = null;
  }

  // What the view asks of this step: { body, why }.
  asked(bundle, view) {
    const { target, why } = targetOf(bundle, view.query, this.about.dimensions());
    if (why) return { why };
    const scalar = view.scalar ? { scalar: view.scalar } : {};
    return { body: { ...this.about.asked, method: view.method, settings: readSettings(view.settings), target, ...scalar } };
  }

  // Another question has other maps; what another was told is forgotten.
  question(body) {
    const key = JSON.stringify(body);
    if (key === this.key) return;
    this.key = key;
    this.forget();
  }

  // { row, why, map }: the map of a step as a row over the sequence; asks the server where it is not known yet.
  row(bundle, view) {
    const { body, why } = this.asked(bundle, view);
    if (why) return { row: null, why };
    this.question(body);
    const held = this.maps.get(view.step);
    if (held) {
      if (held.row.length === bundle.tokens.length) return { row: held.row, why: "", map: held };
      return { row: null, why: "A map covers what the language model reads and writes: choose that stream." };
    }
    if (held === undefined) this.load(view.step, body);
    const why_none = this.complaint || (held === undefined ? "Looking for the map of this step…" : "This step has not been explained yet.");
    return { row: null, why: why_none };
  }

  async load(step, body) {
    if (this.pending.has(step)) return;
    this.pending.add(step);
    const { key } = this;
    try {
      const url = address(this.about.base, "attribution", { asked: JSON.stringify({ ...body, step }) });
      const found = await (await fetched(url)).json();
      if (key !== this.key) return;
      this.steps = new Set(found.steps);
      this.maps.set(step, found.map ? { ...found.map, row: Float32Array.from(found.map.scores, (value) => value ?? 0) } : null);
    } catch (error) {
      if (key !== this.key) return;
      this.maps.set(step, null);
      this.complaint = error.message;
    } finally {
      this.pending.delete(step);
    }
    this.onChange();
  }

  // `step` null: the whole episode.
  async start(bundle, view, step) {
    const { body } = this.asked(bundle, view);
    if (!body) return;
    this.question(body);
    this.complaint = "";
    await this.follow({ kind: "attribute", ...body, step }, () => {
      this.refresh();
      this.load(view.step, body); // also says which steps there are now
    });
  }

  // Steps that were explained meanwhile are asked for again.
  refresh() {
    for (const [step, map] of this.maps) if (!map) this.maps.delete(step);
    this.onChange();
  }

  // Starts a task and watches it to its end, unless another question is asked meanwhile.
  async follow(body, whenDone) {
    const { key } = this;
    const watched = (task) => {
      if (this.closed || key !== this.key) return false;
      if (task.done !== this.task?.done) this.refresh();
      this.task = task;
      this.onChange();
      return true;
    };
    try {
      const task = await follow(this.about.base, body, watched);
      if (!task || key !== this.key) return;
      this.task = null;
      if (task.state === "failed") this.complaint = task.message;
      if (task.state === "done") whenDone(task.result);
    } catch (error) {
      this.task = null;
      this.complaint = error.message;
    }
    this.onChange();
  }

  async cancel() {
    if (!this.task) return;
    await cancel(this.about.base, this.task.id).catch((error) => { this.complaint = error.message; });
    this.onChange();
  }

  close() {
    this.closed = true;
  }
}

// Which methods can run on a checkpoint: [{ name, title, signed, why_not, settings }], once it is known.
export class Methods {
  constructor(about, onChange) {
    this.watch = new PaneAttribution(about, onChange);
    this.list = null;
    this.asking = false;
  }

  async learn() {
    if (this.list || this.asking) return;
    this.asking = true;
    await this.watch.follow({ kind: "attribution-methods", ...this.watch.about.asked }, (list) => { this.list = list; });
    this.asking = false;
    this.watch.onChange();
  }

  get state() {
    return this.watch.complaint || (this.list ? "" : "Opening the checkpoint to see which methods can run on it…");
  }

  close() {
    this.watch.close();
  }
}
