// What the viewer chose, as one value; mirrored into the URL so that a pasted link opens the same view.

export const DEFAULTS = Object.freeze({
  step: 0, camera: "", layer: 0, head: 0, reduce: "topk", k: 4, from: 0, to: -1, query: "action", patch: -1,
  opacity: 0.75, map: "viridis", scale: "frame", smooth: 1, objects: 0, dim: 0, speed: 1, rows: "",
  keep: "heads", ranked_by: "image attention", ranked_over: "query", fuse: "mean", ranked_camera: "",
  stream: "", denoise: -1, tile: -1, depth: 0, marks: 1, method: "", settings: "", scalar: "",
});

// The top-k fusion's settings have the names and values of TopK in analysis/attention.py.
export const CHOICES = {
  reduce: ["head", "mean", "max", "topk", "rollout"], map: ["viridis", "cividis", "magma", "inferno"],
  scale: ["frame", "episode"], rows: ["", "all"], speed: [0.25, 0.5, 1, 2, 4, 8],
  keep: ["heads", "heads of each layer", "layers", "entries"], ranked_by: ["image attention", "largest image weight"],
  ranked_over: ["query", "all queries"], fuse: ["mean", "max"], scalar: ["", "action", "log-probability"],
};

function parse(name, text) {
  const fallback = DEFAULTS[name];
  if (typeof fallback === "string") return CHOICES[name] && !CHOICES[name].includes(text) ? fallback : text.slice(0, 400);
  const number = Number(text);
  if (!Number.isFinite(number)) return fallback;
  if (name === "opacity") return Math.min(1, Math.max(0, number));
  if (name === "speed") return CHOICES.speed.includes(number) ? number : fallback;
  return Math.trunc(number);
}

export function fromUrl(search) {
  const params = new URLSearchParams(search);
  const view = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (params.has(name)) view[name] = parse(name, params.get(name));
  return view;
}

// The other parameters (Streamlit's own) keep their place; defaults are left out so that links stay short.
export function toSearch(view, search) {
  const params = new URLSearchParams(search);
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    if (view[name] === fallback) params.delete(name);
    else params.set(name, String(view[name]));
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}

// Streamlit writes its widgets' parameters by itself and may rewrite the whole query; `keep` puts ours back.
export class UrlMirror {
  constructor(read) {
    this.read = read;
    this.timer = null;
    this.guard = window.setInterval(() => this.keep(), 700);
  }

  soon() {
    if (this.timer === null) this.timer = window.setTimeout(() => this.keep(), 120);
  }

  keep() {
    window.clearTimeout(this.timer);
    this.timer = null;
    const search = toSearch(this.read(), window.location.search);
    if (search === window.location.search) return;
    window.history.replaceState(window.history.state, "", window.location.pathname + search + window.location.hash);
  }

  stop() {
    window.clearTimeout(this.timer);
    window.clearInterval(this.guard);
  }
}
