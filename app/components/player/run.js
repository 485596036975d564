// One checkpoint on one episode: its status, predictions a step, attention rows and depth on demand.

import { decodeBundle, decodeDepth } from "./bundle.js";
import { withTokens } from "./query.js";
import { ByteCache, address, fetched } from "./source.js";

const BUNDLE_BYTES = 384 * 2 ** 20;
const DEPTH_BYTES = 64 * 2 ** 20;
const WHOLE_BYTES = 4 * 2 ** 20; // of larger steps only the layers that are looked at are fetched

// `pane`: which checkpoint, and how it is read: { checkpoint, action_stats, family, cameras }.
function runAddress({ base, dataset, episode }, name, pane, rows, params) {
  const chosen = { checkpoint: pane.checkpoint, action_stats: pane.action_stats, family: pane.family, cameras: pane.cameras, rows };
  const given = Object.fromEntries(Object.entries(chosen).filter(([, value]) => value));
  return address(base, name, { dataset, episode, ...given, ...params });
}

// The first status of a pane's run, or null without a checkpoint; a failure is told when it is awaited.
export function fetchStatus(config, pane, rows) {
  if (!pane.checkpoint) return null;
  const answer = fetched(runAddress(config, "run", pane, rows, { since: "" })).then((response) => response.json());
  answer.catch(() => {});
  return answer;
}

export class Run {
  // `rows` "all": a record that holds the rows of the prompt's own tokens too, as rollout needs them.
  // `wanted(count)`: places of the layers that are looked at, of `count` captured ones; null: all.
  // `chosen()`: { stream, denoise, camera } as the viewer chose them; `known`: the episode's cameras.
  constructor(where, pane, { length, known, rows, status, wanted, chosen }, onChange) {
    this.known = known;
    this.rows = rows;
    this.first = status;
    this.wanted = wanted;
    this.chosen = chosen;
    this.url = (name, params) => runAddress(where, name, pane, this.rows, params);
    this.length = length;
    this.onChange = onChange;
    this.status = { state: "unknown", message: "", captured: 0, total: length, cameras: {}, note: "", actions: null };
    this.steps = new Array(length).fill(null);
    this.bundles = new ByteCache(BUNDLE_BYTES);
    this.depths = new ByteCache(DEPTH_BYTES);
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

  // The parameters that name the attention that is looked at; a vision tower has a record for each camera.
  selection() {
    const { stream, denoise, camera } = this.chosen();
    return { ...(stream ? { stream } : {}), ...(denoise >= 0 ? { denoising: denoise } : {}), ...(stream.startsWith("vision") ? { camera } : {}) };
  }

  // Numbers of the captured layers of the stream that is looked at; null where only a step itself can tell.
  layers() {
    return this.status.layers?.[this.chosen().stream] ?? null;
  }

  // Places of the layers that are needed of this step; null: it is fetched whole.
  needed(step) {
    const layers = this.layers();
    return layers && this.steps[step].bytes > WHOLE_BYTES ? this.wanted(layers.length) : null;
  }

  // Whether what is looked at can be drawn from what is here.
  fresh(step) {
    const held = this.bundles.get(step);
    if (held?.version !== this.steps[step].version || held.asked !== JSON.stringify(this.selection())) return false;
    const needed = this.needed(step) ?? held.captured.map((_, index) => index);
    return needed.every((index) => held.local.has(index));
  }

  load(step) {
    if (!this.captured(step) || this.fresh(step)) return Promise.resolve();
    const numbers = this.layers();
    const layers = this.needed(step)?.map((index) => numbers[index]).join(",") ?? "";
    return this.once(`${step}/${this.steps[step].version}/${layers}/${JSON.stringify(this.selection())}`, () => this.fetchBundle(step, layers ? { layers } : {}));
  }

  once(key, fetch) {
    if (!this.pending.has(key)) this.pending.set(key, fetch().finally(() => this.pending.delete(key)));
    return this.pending.get(key);
  }

  async fetchBundle(step, layers) {
    const { version } = this.steps[step];
    const selection = this.selection();
    const asked = JSON.stringify(selection);
    const url = this.url("step", { step, v: version, ...selection, ...layers });
    const bundle = { ...withTokens(decodeBundle(await (await fetched(url)).arrayBuffer())), version, asked, known: this.known };
    const current = version === this.steps[step].version && asked === JSON.stringify(this.selection());
    if (!this.closed && current && !this.fresh(step)) this.bundles.set(step, bundle, bundle.bytes);
  }

  depth(step, camera) {
    return this.depths.get(`${step}/${camera}`);
  }

  loadDepth(step, camera) {
    const told = this.bundle(step)?.depth.some((entry) => entry.camera === camera);
    if (!told || this.depths.has(`${step}/${camera}`)) return Promise.resolve();
    return this.once(`depth/${step}/${camera}`, async () => {
      const url = this.url("depth", { step, camera, v: this.steps[step].version });
      const depth = decodeDepth(await (await fetched(url)).arrayBuffer());
      if (!this.closed) this.depths.set(`${step}/${camera}`, depth, depth.bytes);
    });
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
    this.depths.clear();
  }
}
