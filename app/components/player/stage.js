// The frame with the attention laid over it; the pointer asks about patches.

import { el, setText, sizedContext } from "./dom.js";
import { gradient } from "./colormaps.js";

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
    this.caption = el("div", { class: "caption" });
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

  // picture: { frame, width, height, overlay, opacity, smooth, span, patch, boxes, grey }
  show(picture) {
    this.picture = picture;
    this.draw();
  }

  explain({ caption, note, legend, label }) {
    setText(this.caption, caption);
    setText(this.note, note);
    this.note.hidden = !note;
    this.legend.hidden = !legend;
    if (legend) {
      this.bar.style.background = gradient(legend.map);
      setText(this.low, legend.low);
      setText(this.high, legend.high);
    }
    this.canvas.setAttribute("aria-label", label);
    if (this.hover >= 0) setText(this.tip, this.describe(this.hover));
  }

  draw() {
    const { picture } = this;
    const context = sizedContext(this.canvas);
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    context.clearRect(0, 0, width, height);
    if (!picture || !picture.frame) return;
    this.fit = fitted(picture, width, height);
    context.save();
    context.beginPath();
    context.rect(this.fit.left, this.fit.top, picture.width * this.fit.scale, picture.height * this.fit.scale);
    context.clip();
    this.drawFrame(context);
    if (picture.overlay) this.drawOverlay(context);
    if (picture.boxes) this.drawBoxes(context);
    if (picture.span && this.hover >= 0) this.drawGrid(context);
    if (picture.span && picture.patch >= 0) this.outline(context, picture.patch, "#ffffff", 3);
    if (picture.span && this.hover >= 0) this.outline(context, this.hover, "#ffffff", 1.5);
    context.restore();
  }

  drawFrame(context) {
    const { frame, width, height, grey } = this.picture;
    const { left, top, scale } = this.fit;
    context.imageSmoothingEnabled = true;
    if (grey) context.filter = "grayscale(1) brightness(0.8)";
    context.drawImage(frame, left, top, width * scale, height * scale);
    context.filter = "none";
  }

  drawOverlay(context) {
    const { overlay, opacity, smooth, span } = this.picture;
    const [x0, y0, x1, y1] = span.grid.box;
    const { left, top, scale } = this.fit;
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = Boolean(smooth);
    context.drawImage(overlay, left + x0 * scale, top + y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
    context.globalAlpha = 1;
  }

  drawGrid(context) {
    const { rows, columns } = this.picture.span.grid;
    const step = Math.max(rows, columns) > 40 ? 2 : 1;
    context.strokeStyle = "rgba(255, 255, 255, 0.28)";
    context.lineWidth = 1;
    context.beginPath();
    for (let r = 0; r <= rows; r += step) this.line(context, this.rectangle(r * columns, rows, columns), "row");
    for (let c = 0; c <= columns; c += step) this.line(context, this.rectangle(c, rows, columns, true), "column");
    context.stroke();
  }

  line(context, [x, y], kind) {
    const [x0, y0, x1, y1] = this.picture.span.grid.box.map((value, i) => (i % 2 ? this.fit.top : this.fit.left) + value * this.fit.scale);
    context.moveTo(kind === "row" ? x0 : x, kind === "row" ? y : y0);
    context.lineTo(kind === "row" ? x1 : x, kind === "row" ? y : y1);
  }

  // Left, top, width, height of a patch in canvas pixels; `column` treats the index as a column number alone.
  rectangle(index, rows, columns, column = false) {
    const [x0, y0, x1, y1] = this.picture.span.grid.box;
    const row = column ? 0 : Math.floor(index / columns);
    const col = column ? index : index % columns;
    const width = ((x1 - x0) / columns) * this.fit.scale;
    const height = ((y1 - y0) / rows) * this.fit.scale;
    return [this.fit.left + x0 * this.fit.scale + col * width, this.fit.top + y0 * this.fit.scale + row * height, width, height];
  }

  outline(context, index, colour, lineWidth) {
    const { rows, columns } = this.picture.span.grid;
    const [x, y, width, height] = this.rectangle(index, rows, columns);
    context.strokeStyle = "rgba(0, 0, 0, 0.65)";
    context.lineWidth = lineWidth + 2;
    context.strokeRect(x, y, width, height);
    context.strokeStyle = colour;
    context.lineWidth = lineWidth;
    context.strokeRect(x, y, width, height);
  }

  drawBoxes(context) {
    const { left, top, scale } = this.fit;
    context.font = `600 13px ${getComputedStyle(this.node).fontFamily}`;
    context.textBaseline = "top";
    for (const { label, box, colour } of this.picture.boxes) {
      const [x, y, width] = [left + box[0] * scale, top + box[1] * scale, context.measureText(label).width + 8];
      context.lineWidth = 2;
      context.strokeStyle = colour;
      context.strokeRect(x, y, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
      context.fillStyle = "rgba(10, 14, 20, 0.78)";
      context.fillRect(x, y, width, 17);
      context.fillStyle = "#ffffff";
      context.fillText(label, x + 4, y + 3);
    }
  }

  patchAt(event) {
    if (!this.picture?.span || !this.fit) return -1;
    const { rows, columns, box } = this.picture.span.grid;
    const bounds = this.canvas.getBoundingClientRect();
    const x = (event.clientX - bounds.left - this.fit.left) / this.fit.scale;
    const y = (event.clientY - bounds.top - this.fit.top) / this.fit.scale;
    const column = Math.floor(((x - box[0]) / (box[2] - box[0])) * columns);
    const row = Math.floor(((y - box[1]) / (box[3] - box[1])) * rows);
    return column < 0 || row < 0 || column >= columns || row >= rows ? -1 : row * columns + column;
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
    const grid = this.picture?.span?.grid;
    if (!grid || event.shiftKey) return;
    if (event.key === "Enter" && this.hover >= 0) this.onPick(this.hover);
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns }[event.key];
    if (!move) return;
    event.preventDefault();
    const last = grid.rows * grid.columns - 1;
    this.hover = this.hover < 0 ? 0 : Math.min(last, Math.max(0, this.hover + move));
    this.tip.hidden = false;
    Object.assign(this.tip.style, { left: "12px", right: "auto", top: this.hover > last / 2 ? "12px" : "auto", bottom: this.hover > last / 2 ? "auto" : "12px" });
    setText(this.tip, this.describe(this.hover));
    this.draw();
    this.onHover(this.hover);
  }

  close() {
    this.observer.disconnect();
  }
}

function fitted({ width, height }, boxWidth, boxHeight) {
  const scale = Math.min(boxWidth / width, boxHeight / height);
  return { scale, left: (boxWidth - width * scale) / 2, top: (boxHeight - height * scale) / 2 };
}
