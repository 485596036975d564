// What the player fetches of an episode: its facts, ground truth and frames, nearest first. Caches are bounded by bytes.

const FRAME_BYTES = 256 * 2 ** 20;

export class ByteCache {
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

export async function fetched(url, options) {
  const response = await fetch(url, options);
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error || `The server answered ${response.status} for ${url}.`);
}

// Names travel as parameters: a data set may call itself anything, slashes included.
export function address(base, name, params) {
  return `${base}/${name}?${new URLSearchParams(params)}`;
}

export async function fetchEpisode(base, dataset, episode) {
  return (await fetched(address(base, "episode", { dataset, episode }))).json();
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
