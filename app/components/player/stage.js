// The frame with the attention laid over it; the pointer asks about patches.

import { el, setText, sizedContext } from "./dom.js";
import { gradient } from "./colormaps.js";
import { patchCount, placeOf } from "./overlay.js";
import { drawBoxes, drawFrame, drawGrid, drawMarks, drawOverlays, fitted, outline, patchRectangle } from "./stage_drawing.js";

export class Stage {
  constructor({ title, onPick, onHover, describe }) {
    this.onPick = onPick;
    this.onHover = onHover;
    this.describe = describe;
    this.hover = -1;
    this.picture = null;
    this.canvas = el("canvas", { class: "stage-canvas", role: "application", tabindex: "0", "data-arrows": true });
    this.title = el("div", { class: "stage-title", text: title });
    this.tip = el("div", { class: "tip", hidden: true });
    this.note = el("div", { class: "stage-note", hidden: true });
    this.bar = el("span", { class: "colour-bar" });
    this.low = el("span");
    this.high = el("span");
    this.legend = el("div", { class: "legend" }, this.low, this.bar, this.high);
    this.said = el("span");
    this.badge = el("span", { class: "faithful", hidden: true, tabindex: "0" });
    this.test = el("button", { type: "button", class: "test-map", hidden: true, onclick: () => this.press?.() });
    this.trouble = el("span", { class: "quiet", role: "status" });
    this.caption = el("div", { class: "caption" }, this.said, this.badge, this.test, this.trouble);
    this.box = el("div", { class: "stage-box" }, this.canvas, this.note, this.tip);
    this.node = el("figure", { class: "stage" }, this.title, this.box, el("figcaption", {}, this.legend, this.caption));
    this.canvas.addEventListener("pointermove", (event) => this.pointer(event));
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => this.leave());
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  // picture: { frame, width, height, overlays: [{ picture, box }], opacity, smooth, parts, patch, boxes, marks, grey }
  show(picture) {
    this.picture = picture;
    this.draw();
  }

  // badge: { state, text, title } of a map; { label, press, hint } where it can be tested; { note } where that went wrong.
  explain({ caption, note, legend, label, badge }) {
    setText(this.said, caption);
    this.judge(badge);
    setText(this.note, note);
    this.note.hidden = !note;
    this.legend.hidden = !legend;
    if (legend) {
      this.bar.style.background = gradient(legend.map, legend.turned);
      setText(this.low, legend.low);
      setText(this.high, legend.high);
    }
    this.canvas.setAttribute("aria-label", label);
    if (this.hover >= 0) setText(this.tip, this.describe(this.hover));
  }

  judge(badge) {
    this.badge.hidden = !badge;
    this.press = badge?.press;
    this.test.hidden = !this.press;
    setText(this.trouble, badge?.note ?? "");
    if (!badge) return;
    this.badge.dataset.state = badge.state;
    this.badge.title = badge.title;
    setText(this.badge, badge.text);
    setText(this.test, badge.label ?? "");
    this.test.title = badge.hint ?? "";
  }

  draw() {
    const { picture } = this;
    const context = sizedContext(this.canvas);
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    context.clearRect(0, 0, width, height);
    if (!picture || !picture.frame) return;
    const { overlays, opacity, smooth, parts, boxes, marks, patch } = picture;
    this.fit = fitted(picture, width, height);
    const font = getComputedStyle(this.node).fontFamily;
    context.save();
    context.beginPath();
    context.rect(this.fit.left, this.fit.top, picture.width * this.fit.scale, picture.height * this.fit.scale);
    context.clip();
    drawFrame(context, this.fit, picture);
    drawOverlays(context, this.fit, overlays, opacity, smooth);
    if (boxes) drawBoxes(context, this.fit, boxes, font);
    if (marks) drawMarks(context, this.fit, marks, font);
    const hovered = placeOf(parts, this.hover);
    if (hovered) drawGrid(context, this.fit, hovered.part.grid);
    this.outline(context, placeOf(parts, patch), 3);
    this.outline(context, hovered, 1.5);
    context.restore();
  }

  outline(context, place, lineWidth) {
    if (place) outline(context, patchRectangle(this.fit, place.part.grid, place.index), "#ffffff", lineWidth);
  }

  // The patch under the pointer; where tiles lie over the whole image, the tile's.
  patchAt(event) {
    if (!this.picture?.parts.length || !this.fit) return -1;
    const bounds = this.canvas.getBoundingClientRect();
    const x = (event.clientX - bounds.left - this.fit.left) / this.fit.scale;
    const y = (event.clientY - bounds.top - this.fit.top) / this.fit.scale;
    for (const { grid, offset } of [...this.picture.parts].reverse()) {
      const [x0, y0, x1, y1] = grid.box;
      const column = Math.floor(((x - x0) / (x1 - x0)) * grid.columns);
      const row = Math.floor(((y - y0) / (y1 - y0)) * grid.rows);
      if (column >= 0 && row >= 0 && column < grid.columns && row < grid.rows) return offset + row * grid.columns + column;
    }
    return -1;
  }

  pointer(event) {
    const patch = this.patchAt(event);
    const bounds = this.box.getBoundingClientRect();
    const right = event.clientX - bounds.left > bounds.width / 2;
    this.tip.style.left = right ? "auto" : `${event.clientX - bounds.left + 16}px`;
    this.tip.style.right = right ? `${bounds.right - event.clientX + 16}px` : "auto";
    const room = right ? event.clientX - bounds.left : bounds.right - event.clientX;
    this.tip.style.maxWidth = `${Math.min(300, room - 28)}px`;
    this.tip.style.bottom = "auto";
    this.tip.style.top = `${Math.min(event.clientY - bounds.top + 12, bounds.height - 96)}px`;
    if (patch === this.hover) return;
    this.hover = patch;
    this.tip.hidden = patch < 0;
    if (patch >= 0) setText(this.tip, this.describe(patch));
    this.draw();
    this.onHover(patch);
  }

  leave() {
    this.hover = -1;
    this.tip.hidden = true;
    this.draw();
    this.onHover(-1);
  }

  click(event) {
    const patch = this.patchAt(event);
    if (patch >= 0) this.onPick(patch);
  }

  // With the picture focused, arrows walk over the patches and Enter picks one.
  key(event) {
    const parts = this.picture?.parts ?? [];
    if (!parts.length || event.shiftKey) return;
    if (event.key === "Enter" && this.hover >= 0) this.onPick(this.hover);
    const columns = (placeOf(parts, this.hover)?.part ?? parts[0]).grid.columns;
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!move) return;
    event.preventDefault();
    const first = Math.min(...parts.map(({ offset }) => offset));
    const last = first + patchCount(parts) - 1;
    this.hover = this.hover < 0 ? first : Math.min(last, Math.max(first, this.hover + move));
    this.tip.hidden = false;
    Object.assign(this.tip.style, { left: "12px", right: "auto", top: this.hover > (first + last) / 2 ? "12px" : "auto", bottom: this.hover > (first + last) / 2 ? "auto" : "12px" });
    setText(this.tip, this.describe(this.hover));
    this.draw();
    this.onHover(this.hover);
  }

  close() {
    this.observer.disconnect();
  }
}
