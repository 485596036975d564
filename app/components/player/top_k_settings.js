// Every choice of the top-k fusion; the paper that draws its maps with one publishes none of them.

import { choice, el, slider } from "./dom.js";
import { CHOICES } from "./view_state.js";

const LABELS = { keep: "Keep", fuse: "Fused by", ranked_by: "Ranked by", ranked_over: "Ranked over" };
const TITLES = {
  keep: "What the k best are chosen among: all heads, the heads of every layer, layers with their heads averaged, or the weights of every single entry",
  ranked_by: "Sum or maximum of a row over the image", ranked_over: "Every query keeps its own k, or all queries keep the same",
  fuse: "How the kept rows become one; a maximum no longer sums to one",
};

export class TopKSettings {
  constructor({ update, cameras }) {
    this.k = slider("k", { min: 1, max: 8, step: 1 }, String, (k) => update({ k }));
    this.choices = Object.entries(LABELS).map(([name, label]) => {
      const made = choice(label, CHOICES[name].map((value) => [value, value]), (value) => update({ [name]: value }));
      made.node.title = TITLES[name];
      return [name, made];
    });
    this.camera = choice("Image", [["", "all images"], ...cameras.map((name) => [name, name])], (name) => update({ ranked_camera: name }));
    this.node = el("div", { class: "top-k", role: "group", "aria-label": "Top-k fusion" },
      this.k.node, this.choices.map(([, { node }]) => node), this.camera.node);
  }

  show({ view, most, images }) {
    this.node.hidden = view.reduce !== "topk";
    this.k.set(Math.min(view.k, most), { max: most });
    for (const [name, { set, select }] of this.choices) {
      set(view[name]);
      select.disabled = view.keep === "entries" && name.startsWith("ranked");
    }
    this.camera.set(view.ranked_camera);
    this.camera.node.hidden = images < 2;
  }
}
