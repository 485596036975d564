// Whether the map that is drawn was found to be faithful, as the server tells it, and the test that finds out.

import { askedPatch, layerRange, wantedLayers } from "./attention_view.js";
import { readSettings } from "./attribution.js";
import { resolveQuery } from "./query.js";
import { available } from "./reductions.js";
import { address, fetched } from "./source.js";
import { cancel, follow } from "./task.js";

const SETTLED_MS = 250; // a slider that is dragged asks once
const FRESH_MS = 30_000; // others test maps as well

// Which map is drawn, by the names of analysis/evidence/asked_map.py.
export function askedMap(bundle, view, map) {
  if (map) return { method: map.method, settings: readSettings(view.settings), query: view.query, scalar: map.scalar };
  const { reduce } = view;
  const range = layerRange(bundle, view);
  const number = (place) => bundle.captured[place];
  const layers = { from: number(range[0]), to: number(range[range.length - 1]) };
  const settings = {
    head: () => ({ layer: number(wantedLayers(view, bundle.captured.length)[0]), head: Math.min(bundle.shape[1] - 1, Math.max(0, view.head)) }),
    mean: () => layers, max: () => layers, rollout: () => ({}),
    topk: () => ({
      ...layers, k: Math.min(view.k, available(range.length, bundle.shape[1], view)), keep: view.keep, ranked_by: view.ranked_by, ranked_over: view.ranked_over,
      fuse: view.fuse, ranked_camera: view.ranked_camera, rows: bundle.produced.includes(-1) ? "all" : "",
    }),
  }[reduce]();
  const patch = askedPatch(bundle, view) < 0 ? -1 : view.patch;
  const known = resolveQuery(bundle, view.query, askedPatch(bundle, view)).tokens.length > 0;
  return known ? { method: "attention", settings: { reduce, ...settings, stream: view.stream, denoise: view.denoise, patch }, query: view.query } : null;
}

export class MapTests {
  // about: { base, asked: parameters that name episode and checkpoint }
  constructor(about, onChange) {
    this.about = about;
    this.onChange = onChange;
    this.known = new Map(); // map, as JSON -> { badge, at, task, complaint }
    this.timer = null;
  }

  // { state, text, title, press, label } of a map; `press` starts or cancels its test.
  badge(map) {
    const key = JSON.stringify(map);
    const held = this.known.get(key) ?? {};
    if (!held.at || (!held.task && Date.now() - held.at > FRESH_MS)) this.soon(key);
    const { badge, task, complaint } = held;
    if (task) return { state: "testing", text: progress(task), title: "Patches are hidden in the map's order, and what the map is about is looked at.", label: "Cancel", press: () => this.stop(key) };
    if (complaint) return { state: "not tested", text: "faithfulness not tested", title: complaint, note: complaint, label: "Try again", press: () => this.start(key) };
    if (!badge) return { state: "not tested", text: "faithfulness …", title: "Looking for tests of this map…" };
    const untested = badge.state === "not tested";
    return {
      state: badge.state, text: untested ? "faithfulness not tested" : `faithfulness ${badge.state}, ${badge.n}`, title: badge.why,
      ...(untested ? { label: "Test this map", press: () => this.start(key), hint: `Hides patches in the map's order at ${badge.steps} steps of this episode; about 150 runs of the model each.` } : {}),
    };
  }

  soon(key) {
    if (this.waiting === key) return;
    this.waiting = key;
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => { this.waiting = null; this.load(key); }, SETTLED_MS);
  }

  async load(key) {
    if (this.closed) return;
    this.set(key, { at: Date.now() });
    try {
      const url = address(this.about.base, "tested", { asked: JSON.stringify({ ...this.about.asked, ...JSON.parse(key) }) });
      this.set(key, { badge: await (await fetched(url)).json() });
    } catch (error) {
      this.set(key, { complaint: error.message });
    }
    if (this.closed) return;
    this.onChange();
    window.clearTimeout(this.again);
    this.again = window.setTimeout(() => this.onChange(), FRESH_MS); // nobody may touch the page meanwhile
  }

  // Goes on when another map is looked at meanwhile.
  async start(key) {
    this.set(key, { task: { state: "queued" }, complaint: "" });
    this.onChange();
    try {
      const task = await follow(this.about.base, { kind: "test-map", ...this.about.asked, ...JSON.parse(key) }, (now) => {
        this.set(key, { task: now });
        this.onChange();
        return !this.closed;
      });
      this.set(key, { task: null, complaint: task?.state === "failed" ? task.message : "" });
    } catch (error) {
      this.set(key, { task: null, complaint: error.message });
    }
    await this.load(key);
  }

  async stop(key) {
    const { id } = this.known.get(key)?.task ?? {};
    if (id) await cancel(this.about.base, id).catch((error) => this.set(key, { complaint: error.message }));
  }

  set(key, changes) {
    this.known.set(key, { ...this.known.get(key), ...changes });
  }

  close() {
    this.closed = true;
    window.clearTimeout(this.timer);
    window.clearTimeout(this.again);
  }
}

function progress({ state, done, total }) {
  if (state === "loading") return "opening the checkpoint…";
  return state === "running" && total ? `testing: ${done} of ${total} steps` : "test waits for its turn…";
}
