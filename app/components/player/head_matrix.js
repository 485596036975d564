// Layers by heads, shaded by how much of the query's row falls on the image. Picks a head or a range of layers.

import { el } from "./dom.js";
import { percent } from "./attention_view.js";

export class HeadMatrix {
  constructor({ onHead, onLayer }) {
    this.onHead = onHead;
    this.onLayer = onLayer;
    this.node = el("div", { class: "matrix", "data-arrows": true });
    this.cells = [];
    this.labels = [];
    this.shape = "";
    this.node.addEventListener("keydown", (event) => this.key(event));
  }

  // value: { layers: [number], heads, shares, chosen: Set("l,h"), from, to, mode }
  show(value) {
    const shape = `${value.layers.join(",")}x${value.heads}`;
    if (shape !== this.shape) this.build(value);
    this.shape = shape;
    this.value = value;
    const top = Math.max(1e-9, ...(value.shares ?? []).filter(Number.isFinite));
    this.cells.forEach((cell, index) => {
      const [layer, head] = [Math.floor(index / value.heads), index % value.heads];
      const share = value.shares?.[index] ?? NaN;
      const known = Number.isFinite(share);
      cell.style.setProperty("--share", known ? (share / top).toFixed(3) : "0");
      cell.classList.toggle("chosen", value.chosen.has(`${layer},${head}`));
      const text = `layer ${value.layers[layer]}, head ${head}: ${known ? `${percent(share)} on the image` : "not fetched"}`;
      if (cell.title !== text) {
        cell.title = text;
        cell.setAttribute("aria-label", text);
      }
      cell.tabIndex = index === this.focusIndex() ? 0 : -1;
    });
    this.labels.forEach((label, layer) => {
      label.setAttribute("aria-pressed", String(value.mode !== "head" && layer >= value.from && layer <= value.to));
    });
  }

  focusIndex() {
    const first = this.value?.chosen.values().next().value;
    if (!first) return 0;
    const [layer, head] = first.split(",").map(Number);
    return layer * this.value.heads + head;
  }

  build({ layers, heads }) {
    this.node.replaceChildren();
    this.cells = [];
    this.labels = [];
    this.node.style.gridTemplateColumns = `auto repeat(${heads}, minmax(14px, 1fr))`;
    this.node.classList.toggle("dense", layers.length > 12);
    this.node.append(el("span", { class: "corner", text: "layer" }));
    for (let head = 0; head < heads; head++) this.node.append(el("span", { class: "column", text: columnLabel(head, heads) }));
    layers.forEach((number, layer) => {
      const label = el("button", {
        type: "button", class: "row-label", text: String(number), tabindex: "-1",
        title: `Layer ${number} alone (shift-click: up to here)`, "aria-label": `layer ${number}`,
        onclick: (event) => this.onLayer(layer, event.shiftKey),
      });
      this.labels.push(label);
      this.node.append(label);
      for (let head = 0; head < heads; head++) {
        const cell = el("button", { type: "button", class: "cell", onclick: () => this.onHead(layer, head) });
        this.cells.push(cell);
        this.node.append(cell);
      }
    });
  }

  key(event) {
    const at = this.cells.indexOf(event.target);
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.value?.heads, ArrowDown: this.value?.heads }[event.key];
    if (at < 0 || !move) return;
    event.preventDefault();
    this.cells[Math.min(this.cells.length - 1, Math.max(0, at + move))].focus();
  }
}

// Only what has room above a narrow column.
function columnLabel(head, heads) {
  if (heads > 16) return "";
  if (heads > 8) return head % 2 ? "" : String(head);
  return `h${head}`;
}
