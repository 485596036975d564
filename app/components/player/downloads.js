// The view on screen as a file: made by the server out of the same records, with a caption that says how to make it again.

import { choice, el } from "./dom.js";
import { address, fetched } from "./source.js";
import { DEFAULTS } from "./view_state.js";

const FORMATS = [
  ["png", "PNG", "This step as a picture with its caption"], ["svg", "SVG", "The same, its words as text and its layers apart"],
  ["csv", "CSV", "The values of the patches, a line each"], ["npz", "NPZ", "Values, rows over the sequence and tokens, for NumPy"],
  ["mp4", "Film", "All steps that were run, as MP4"], ["gif", "GIF", "The same as GIF"],
];
const FILMS = ["mp4", "gif"];
// The names of STEP_CHARTS in analysis/pictures/step_charts.py.
const VIEWS = [["frame", "frame and maps"], ["tokens", "words"], ["heads", "heads"], ["actions", "actions"], ["odds", "odds of the bins"]];

export class Downloads {
  constructor(player) {
    this.player = player;
    this.note = el("span", { class: "quiet", role: "status" });
    this.buttons = FORMATS.map(([format, text, title]) => el("button", { type: "button", text, title, "data-format": format, onclick: () => this.save(format) }));
    this.what = choice("Download", VIEWS, () => this.offer());
    this.node = el("div", { class: "downloads", role: "group", "aria-label": "Download this view" }, this.what.node, this.buttons, this.note);
  }

  // Only the frame has films.
  offer() {
    const still = this.what.select.value !== "frame";
    for (const button of this.buttons) button.hidden = still && FILMS.includes(button.dataset.format);
    this.note.textContent = "";
  }

  url(format) {
    const { config, episode, view } = this.player;
    const params = { dataset: config.dataset, episode: episode.id, format, rows: view.rows, what: this.what.select.value };
    config.panes.forEach((pane, index) => {
      if (!pane.checkpoint) return;
      const names = index ? ["other", "other_stats", "other_family", "other_cameras"] : ["checkpoint", "action_stats", "family", "cameras"];
      const values = [pane.checkpoint, pane.action_stats, pane.family, pane.cameras];
      names.forEach((name, i) => { if (values[i]) params[name] = values[i]; });
    });
    for (const name of Object.keys(DEFAULTS)) if (view[name] !== DEFAULTS[name] || name === "step" || name === "camera") params[name] = String(view[name]);
    if (view.method) this.addTargets(params);
    return address(config.base, "picture", params);
  }

  // What an attribution method explains, which each pane takes from the query in its own words.
  addTargets(params) {
    this.player.panes.filter(({ explain }) => explain).forEach((pane, index) => {
      const bundle = pane.bundle();
      const { body, why } = bundle ? pane.explain.asked(bundle, this.player.view) : { why: "This step has not been run yet." };
      if (why) throw new Error(why);
      params[index ? "other_target" : "target"] = body.target;
    });
  }

  async save(format) {
    this.busy(true, format === "mp4" || format === "gif" ? "making the film…" : "");
    try {
      const response = await fetched(this.url(format));
      const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? `view.${format}`;
      const link = el("a", { href: URL.createObjectURL(await response.blob()), download: name });
      link.click();
      window.setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      this.busy(false, "");
    } catch (error) {
      this.busy(false, error.message);
    }
  }

  busy(on, words) {
    for (const button of this.buttons) button.disabled = on;
    this.note.textContent = words;
  }
}
