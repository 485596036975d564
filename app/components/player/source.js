// Everything the player fetches: episode facts, frames, status of a run, captured steps. Caches are bounded by bytes.

import { decodeBundle } from "./bundle.js";
import { withTokens } from "./query.js";

const BUNDLE_BYTES = 384 * 2 ** 20;
const WHOLE_BYTES = 4 * 2 ** 20; // of larger steps only the layers that are looked at are fetched
const FRAME_BYTES = 256 * 2 ** 20;

class ByteCache {
  constructor(limit, drop = () => {}) {
    this.limit = limit;
    this.drop = drop;
    this.entries = new Map();
    this.bytes = 0;
  }

  get(key) {
    const entry = this.entries.get(key);
    if (!entry) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  has(key) {
    return this.entries.has(key);
  }

  set(key, value, bytes) {
    if (this.entries.has(key)) this.bytes -= this.entries.get(key).bytes;
    this.entries.delete(key);
    this.entries.set(key, { value, bytes });
    this.bytes += bytes;
    for (const [old, entry] of this.entries) {
      if (this.bytes <= this.limit || old === key) break;
      this.entries.delete(old);
      this.bytes -= entry.bytes;
      this.drop(entry.value);
    }
  }

  clear() {
    for (const { value } of this.entries.values()) this.drop(value);
    this.entries.clear();
    this.bytes = 0;
  }
}

async function fetched(url, options) {
  const response = await fetch(url, options);
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error || `The server answered ${response.status} for ${url}.`);
}

// Names travel as parameters: a data set may call itself anything, slashes included.
function address(base, name, params) {
  return `${base}/${name}?${new URLSearchParams(params)}`;
}

export async function fetchEpisode(base, dataset, episode) {
  return (await fetched(address(base, "episode", { dataset, episode }))).json();
}

function runAddress({ base, dataset, episode }, name, { checkpoint, stats, rows }, params) {
  const chosen = { ...(stats ? { action_stats: stats } : {}), ...(rows ? { rows } : {}) };
  return address(base, name, { dataset, episode, checkpoint, ...chosen, ...params });
}

// The first status of a pane's run, or null without a checkpoint; a failure is told when it is awaited.
export function fetchStatus(config, { checkpoint, action_stats: stats }, rows) {
  if (!checkpoint) return null;
  const answer = fetched(runAddress(config, "run", { checkpoint, stats, rows }, { since: "" })).then((response) => response.json());
  answer.catch(() => {});
  return answer;
}

export async function fetchTruth(base, dataset, episode) {
  return (await fetched(address(base, "truth", { dataset, episode: episode.id, v: episode.digest }))).json();
}

export class Frames {
  constructor(base, dataset, episode) {
    this.url = (camera, step) => address(base, "frame", { dataset, episode: episode.id, camera, step, v: episode.digest });
    this.cache = new ByteCache(FRAME_BYTES, (bitmap) => bitmap.close());
    this.pending = new Map();
    this.closed = false;
  }

  get(camera, step) {
    return this.cache.get(`${camera}/${step}`);
  }

  load(camera, step) {
    const key = `${camera}/${step}`;
    if (this.cache.has(key)) return Promise.resolve();
    if (!this.pending.has(key)) this.pending.set(key, this.fetch(key, camera, step).finally(() => this.pending.delete(key)));
    return this.pending.get(key);
  }

  async fetch(key, camera, step) {
    const bitmap = await createImageBitmap(await (await fetched(this.url(camera, step))).blob());
    if (this.closed) bitmap.close();
    else this.cache.set(key, bitmap, bitmap.width * bitmap.height * 4);
  }

  close() {
    this.closed = true;
    this.cache.clear();
  }
}

// One checkpoint on one episode: what has been captured so far, predictions a step, attention rows on demand.
export class Run {
  // `rows` "all": a record that holds the rows of the prompt's own tokens too, as rollout needs them.
  // `wanted(count)`: places of the layers that are looked at, of `count` captured ones; null: all.
  constructor(base, dataset, episode, { checkpoint, stats, rows, status, wanted }, onChange) {
    this.rows = rows;
    this.first = status;
    this.wanted = wanted;
    const where = { base, dataset, episode: episode.id };
    this.url = (name, params) => runAddress(where, name, { checkpoint, stats, rows: this.rows }, params);
    this.length = episode.length;
    this.onChange = onChange;
    this.status = { state: "unknown", message: "", captured: 0, total: episode.length };
    this.steps = new Array(episode.length).fill(null);
    this.bundles = new ByteCache(BUNDLE_BYTES);
    this.pending = new Map();
    this.timer = null;
    this.closed = false;
  }

  async poll() {
    if (this.closed) return;
    try {
      const first = this.first;
      this.first = null;
      this.apply(await (first ?? (await fetched(this.url("run", { since: this.status.revision ?? "" }))).json()));
    } catch (error) {
      this.status = { ...this.status, state: "failed", message: error.message };
    }
    this.onChange();
    if (!this.closed && this.busy()) {
      this.timer = window.setTimeout(() => this.poll(), 400);
    }
  }

  apply(answer) {
    for (const [index, step] of Object.entries(answer.steps)) this.steps[Number(index)] = step;
    this.status = { ...answer, steps: undefined };
  }

  async command(name, at) {
    window.clearTimeout(this.timer);
    try {
      // The header makes a request from another site a preflighted one, which this server never allows.
      await fetched(this.url(name, { at }), { method: "POST", headers: { "X-VLA-Lens": "1" } });
      await this.poll();
    } catch (error) {
      this.status = { ...this.status, state: "failed", message: error.message };
      this.onChange();
    }
  }

  busy() {
    return ["queued", "loading", "running"].includes(this.status.state);
  }

  // What is there already stays in view until its step is there with all rows.
  async keepRows(rows, at) {
    if (rows === this.rows && (this.busy() || this.status.captured >= this.length)) return;
    if (rows !== this.rows && this.busy()) await this.command("stop", at);
    this.rows = rows;
    this.status = { ...this.status, state: "queued", message: "", captured: 0, revision: "" };
    await this.command("start", at);
  }

  captured(step) {
    return this.steps[step] !== null;
  }

  bundle(step) {
    return this.bundles.get(step);
  }

  // Places of the layers that are needed of this step; null: it is fetched whole.
  needed(step) {
    return this.steps[step].bytes > WHOLE_BYTES ? this.wanted(this.status.layers.length) : null;
  }

  // Whether what is looked at can be drawn from what is here.
  fresh(step) {
    const held = this.bundles.get(step);
    if (held?.version !== this.steps[step].version) return false;
    const needed = this.needed(step) ?? held.captured.map((_, index) => index);
    return needed.every((index) => held.local.has(index));
  }

  load(step) {
    if (!this.captured(step) || this.fresh(step)) return Promise.resolve();
    const layers = this.needed(step)?.map((index) => this.status.layers[index]).join(",") ?? "";
    const key = `${step}/${this.steps[step].version}/${layers}`;
    if (!this.pending.has(key)) {
      this.pending.set(key, this.fetchBundle(step, layers ? { layers } : {}).finally(() => this.pending.delete(key)));
    }
    return this.pending.get(key);
  }

  async fetchBundle(step, layers) {
    const { version } = this.steps[step];
    const url = this.url("step", { step, v: version, ...layers });
    const bundle = { ...withTokens(decodeBundle(await (await fetched(url)).arrayBuffer())), version };
    if (!this.closed && version === this.steps[step].version && !this.fresh(step)) this.bundles.set(step, bundle, bundle.bytes);
  }

  // How many steps to either side can be held without driving each other out.
  reach(step) {
    const held = this.bundles.get(step);
    return held ? Math.max(1, Math.floor(BUNDLE_BYTES / 2 / held.bytes / 2)) : Infinity;
  }

  close() {
    this.closed = true;
    window.clearTimeout(this.timer);
    this.bundles.clear();
  }
}

// Loads what is nearest to the viewer first, a few requests at a time, and starts over from a new place when asked.
export class Prefetch {
  constructor(loaders, reach, length, onLoaded) {
    this.loaders = loaders;
    this.reach = reach;
    this.length = length;
    this.onLoaded = onLoaded;
    this.generation = 0;
  }

  from(step) {
    const generation = ++this.generation;
    const order = [step];
    for (let d = 1; d < this.length; d++) order.push(...[step + d, step - d].filter((s) => s >= 0 && s < this.length));
    const worker = async () => {
      while (order.length && generation === this.generation) {
        const next = order.shift();
        if (Math.abs(next - step) > this.reach()) break;
        const waiting = this.loaders().map((load) => load(next).catch(() => {}));
        await Promise.all(waiting);
        if (generation === this.generation) this.onLoaded(next);
      }
    };
    for (let i = 0; i < 4; i++) worker();
  }

  stop() {
    this.generation += 1;
  }
}
