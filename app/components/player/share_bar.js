// Where one row goes: image, instruction, state, rationale, past actions, and the sink apart. Sums to 100 %.

import { el, setText } from "./dom.js";
import { percent } from "./attention_view.js";

export const PART_NAMES = {
  image: "image", instruction: "instruction", state: "state", rationale: "rationale", action: "past actions",
  special: "sink (bos, markers)",
};

export class ShareBar {
  constructor() {
    this.bar = el("div", { class: "share-bar", role: "img" });
    this.key = el("div", { class: "share-key" });
    this.node = el("div", { class: "share" }, this.bar, this.key);
    this.parts = new Map();
    for (const [part, name] of Object.entries(PART_NAMES)) {
      const piece = el("i", { class: `part-${part}` });
      const value = el("b");
      const entry = el("span", {}, el("i", { class: `part-${part}` }), name, " ", value);
      this.bar.append(piece);
      this.key.append(entry);
      this.parts.set(part, { piece, entry, value });
    }
  }

  show(shares) {
    const values = new Map(shares.map(({ part, value }) => [part, value]));
    for (const [part, { piece, entry, value }] of this.parts) {
      entry.hidden = !values.has(part);
      piece.style.flexGrow = values.get(part) ?? 0;
      setText(value, percent(values.get(part) ?? 0));
    }
    this.bar.setAttribute("aria-label", shares.map(({ part, value }) => `${PART_NAMES[part]} ${percent(value)}`).join(", "));
    this.node.classList.toggle("empty", shares.length === 0);
  }
}
