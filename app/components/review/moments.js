// What is fetched ahead for an item: the steps around it, their frames, and where a model looked.

import { Frames } from "./source.js";

const AHEAD_FRAMES = 60; // of a clip, per camera; longer clips skip steps

export class Moments {
  constructor(api, base) {
    this.api = api;
    this.base = base;
    this.entries = new Map(); // item id -> Moment
  }

  of(item) {
    if (!this.entries.has(item.id)) this.entries.set(item.id, new Moment(this.api, this.base, item));
    return this.entries.get(item.id);
  }

  // Frees the frames of all items but these.
  keepOnly(ids) {
    for (const [id, moment] of this.entries) {
      if (ids.has(id)) continue;
      moment.close();
      this.entries.delete(id);
    }
  }

  close() {
    this.keepOnly(new Set());
  }
}

class Moment {
  constructor(api, base, item) {
    Object.assign(this, { api, base, item, facts: null, frames: null, error: "", looked: undefined, closed: false });
    this.ready = this.load();
  }

  async load() {
    const { dataset, episode, start, stop } = this.item;
    try {
      this.facts = await this.api.post("moment", { dataset, episode, start, stop });
    } catch (error) {
      this.error = error.message;
      return;
    }
    this.frames = new Frames(this.base, dataset, { id: episode, digest: this.facts.digest });
    if (this.closed) return this.frames.close();
    await Promise.all(this.facts.cameras.map((camera) => this.frames.load(camera, this.facts.start).catch((error) => { this.error = error.message; })));
  }

  // Steps of the clip, evenly thinned out where there are many.
  get steps() {
    const { start, end } = this.facts;
    const every = Math.max(1, Math.ceil((end - start) / AHEAD_FRAMES));
    return Array.from({ length: Math.ceil((end - start) / every) }, (_, i) => start + i * every);
  }

  async loadClip() {
    await this.ready;
    if (!this.frames) return;
    for (const step of this.steps) {
      if (this.closed) return;
      await Promise.all(this.facts.cameras.map((camera) => this.frames.load(camera, step).catch(() => {})));
    }
  }

  // null where no stored run looked at this step.
  loadLooked() {
    const { dataset, episode, record } = this.item;
    this.looking ??= this.ready.then(() => this.facts && this.api.post("looked", { dataset, episode, step: this.facts.start, record }))
      .then((said) => { this.looked = said?.looked ?? null; }, () => { this.looked = null; });
    return this.looking;
  }

  close() {
    this.closed = true;
    this.frames?.close();
  }
}
