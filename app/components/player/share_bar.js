// Where one row goes: image, instruction, state, rationale, past actions, and the sink apart. Sums to 100 %.

import { el, setText } from "./dom.js";
import { percent } from "./attention_view.js";

export const PART_NAMES = {
  image: "image", instruction: "instruction", state: "state", rationale: "rationale", text: "text", action: "actions",
  special: "sink (bos, markers)",
};
const CAMERA_SHADES = [1, 0.72, 0.5, 0.35];

export class ShareBar {
  constructor() {
    this.bar = el("div", { class: "share-bar", role: "img" });
    this.key = el("div", { class: "share-key" });
    this.node = el("div", { class: "share" }, this.bar, this.key);
    this.entries = [];
    this.shown = "";
  }

  // shares: [{ part, camera, value }]; a camera is named where there are several.
  show(shares) {
    const names = shares.map(({ part, camera }) => (camera ? `image ${camera}` : PART_NAMES[part]));
    if (shares.length && names.join("\n") !== this.shown) this.build(shares, names);
    this.entries.forEach(({ piece, value }, index) => {
      piece.style.flexGrow = shares[index]?.value ?? 0;
      setText(value, percent(shares[index]?.value ?? 0));
    });
    this.bar.setAttribute("aria-label", shares.map(({ value }, index) => `${names[index]} ${percent(value)}`).join(", "));
    this.node.classList.toggle("empty", shares.length === 0);
  }

  build(shares, names) {
    this.shown = names.join("\n");
    const cameras = shares.filter(({ camera }) => camera).map(({ camera }) => camera);
    this.entries = shares.map(({ part, camera }, index) => {
      const opacity = camera ? CAMERA_SHADES[cameras.indexOf(camera) % CAMERA_SHADES.length] : 1;
      const swatch = () => el("i", { class: `part-${part}`, style: { opacity } });
      const value = el("b");
      return { piece: swatch(), value, entry: el("span", {}, swatch(), names[index], " ", value) };
    });
    this.bar.replaceChildren(...this.entries.map(({ piece }) => piece));
    this.key.replaceChildren(...this.entries.map(({ entry }) => entry));
  }
}
