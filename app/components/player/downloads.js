// The view on screen as a file: made by the server out of the same records, with a caption that says how to make it again.

import { el } from "./dom.js";
import { address, fetched } from "./source.js";
import { DEFAULTS } from "./view_state.js";

const FORMATS = [
  ["png", "PNG", "This step as a picture with its caption"], ["svg", "SVG", "The same, its words as text and its layers apart"],
  ["csv", "CSV", "The values of the patches, a line each"], ["npz", "NPZ", "Values, rows over the sequence and tokens, for NumPy"],
  ["mp4", "Film", "All steps that were run, as MP4"], ["gif", "GIF", "The same as GIF"],
];

export class Downloads {
  constructor(player) {
    this.player = player;
    this.note = el("span", { class: "quiet", role: "status" });
    this.buttons = FORMATS.map(([format, text, title]) => el("button", { type: "button", text, title, "data-format": format, onclick: () => this.save(format) }));
    this.node = el("div", { class: "downloads", role: "group", "aria-label": "Download this view" },
      el("span", { class: "label", text: "Download" }), this.buttons, this.note);
  }

  url(format) {
    const { config, episode, view } = this.player;
    const params = { dataset: config.dataset, episode: episode.id, format, rows: view.rows };
    config.panes.forEach((pane, index) => {
      if (!pane.checkpoint) return;
      const names = index ? ["other", "other_stats", "other_family", "other_cameras"] : ["checkpoint", "action_stats", "family", "cameras"];
      const values = [pane.checkpoint, pane.action_stats, pane.family, pane.cameras];
      names.forEach((name, i) => { if (values[i]) params[name] = values[i]; });
    });
    for (const name of Object.keys(DEFAULTS)) if (view[name] !== DEFAULTS[name] || name === "step" || name === "camera") params[name] = String(view[name]);
    return address(config.base, "picture", params);
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
