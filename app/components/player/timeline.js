// One line for the whole episode: phases as bands, captured steps brighter, the cursor. Dragging scrubs.

import { el, setText, sizedContext } from "./dom.js";

export const PHASE_COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442", "#8c8c8c"];

export class Timeline {
  constructor({ onScrub, onRelease }) {
    this.onScrub = onScrub;
    this.onRelease = onRelease;
    this.canvas = el("canvas", { class: "timeline-canvas" });
    this.hint = el("div", { class: "tip", hidden: true });
    this.node = el("div", {
      class: "timeline", role: "slider", tabindex: "0", "aria-label": "Step of the episode", "aria-valuemin": "0",
    }, this.canvas, this.hint);
    this.node.addEventListener("pointerdown", (event) => this.press(event));
    this.node.addEventListener("pointermove", (event) => this.move(event));
    this.node.addEventListener("pointerup", (event) => this.lift(event));
    this.node.addEventListener("pointercancel", (event) => this.lift(event));
    this.node.addEventListener("pointerleave", () => { this.hint.hidden = true; });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  // value: { length, fps, phases, bands: [{ name, captured: [bool] }], step }
  show(value) {
    this.value = value;
    this.node.setAttribute("aria-valuemax", String(value.length - 1));
    this.node.setAttribute("aria-valuenow", String(value.step));
    const phase = value.phases[value.step];
    this.node.setAttribute("aria-valuetext", `step ${value.step} of ${value.length - 1}${phase ? `, ${phase}` : ""}`);
    this.draw();
  }

  stepAt(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const place = (event.clientX - bounds.left) / bounds.width;
    return Math.min(this.value.length - 1, Math.max(0, Math.floor(place * this.value.length)));
  }

  press(event) {
    if (event.button !== 0) return;
    this.dragging = true;
    this.node.setPointerCapture(event.pointerId);
    this.onScrub(this.stepAt(event), event);
  }

  move(event) {
    if (!this.value) return;
    const step = this.stepAt(event);
    if (this.dragging) this.onScrub(step, event);
    const phase = this.value.phases[step];
    const missing = this.value.bands.filter(({ captured }) => !captured[step]).map(({ name }) => name);
    const note = missing.length ? ` · not captured: ${missing.join(", ")}` : "";
    setText(this.hint, `step ${step} · ${(step / this.value.fps).toFixed(1)} s${phase ? ` · ${phase}` : ""}${note}`);
    this.hint.hidden = false;
    const bounds = this.node.getBoundingClientRect();
    const left = event.clientX - bounds.left;
    this.hint.style.left = left > bounds.width / 2 ? "auto" : `${left}px`;
    this.hint.style.right = left > bounds.width / 2 ? `${bounds.width - left}px` : "auto";
  }

  lift(event) {
    if (!this.dragging) return;
    this.dragging = false;
    this.node.releasePointerCapture(event.pointerId);
    this.onRelease();
  }

  draw() {
    const { value } = this;
    if (!value) return;
    const context = sizedContext(this.canvas);
    const width = this.canvas.clientWidth;
    const style = getComputedStyle(this.node);
    const ink = style.getPropertyValue("--ink").trim() || style.color;
    const accent = style.getPropertyValue("--accent").trim();
    context.clearRect(0, 0, width, this.canvas.clientHeight);
    this.drawPhases(context, width, ink);
    this.drawBands(context, width, ink, accent);
    this.drawCursor(context, width, accent);
  }

  drawPhases(context, width, ink) {
    const { phases, length } = this.value;
    const names = [...new Set(phases.filter(Boolean))];
    context.font = `500 13px ${getComputedStyle(this.node).fontFamily}`;
    context.textBaseline = "middle";
    for (let start = 0; start < length;) {
      let stop = start + 1;
      while (stop < length && phases[stop] === phases[start]) stop += 1;
      const x = (start / length) * width;
      const w = ((stop - start) / length) * width;
      if (phases[start]) {
        context.globalAlpha = 0.3;
        context.fillStyle = PHASE_COLOURS[names.indexOf(phases[start]) % PHASE_COLOURS.length];
        context.fillRect(x + 0.5, 0, w - 1, 22);
        context.globalAlpha = 1;
        context.fillStyle = ink;
        const text = shortened(context, phases[start], w - 10);
        if (text) context.fillText(text, x + 5, 11.5);
      }
      start = stop;
    }
  }

  drawBands(context, width, ink, accent) {
    const { bands, length } = this.value;
    const height = bands.length > 1 ? 8 : 14;
    const colours = ["--predicted", "--predicted-2"].map((name) => getComputedStyle(this.node).getPropertyValue(name).trim());
    bands.forEach(({ captured }, row) => {
      const y = 26 + row * (height + 2);
      const gap = width / length > 5 ? 1 : 0;
      for (let step = 0; step < length; step++) {
        context.globalAlpha = captured[step] ? 0.85 : 0.13;
        context.fillStyle = captured[step] ? (bands.length > 1 ? colours[row] : accent) : ink;
        context.fillRect((step / length) * width + gap / 2, y, width / length - gap, height);
      }
    });
    context.globalAlpha = 1;
  }

  drawCursor(context, width, accent) {
    const { step, length } = this.value;
    const x = ((step + 0.5) / length) * width;
    context.strokeStyle = accent;
    context.lineWidth = 1.5;
    context.globalAlpha = 0.9;
    const cell = Math.max(3, width / length);
    context.strokeRect((step / length) * width - (cell > 3 ? 0 : 1), 0.75, cell, this.canvas.clientHeight - 1.5);
    context.globalAlpha = 1;
    context.fillStyle = accent;
    context.beginPath();
    const foot = this.canvas.clientHeight;
    context.moveTo(x - 6, foot);
    context.lineTo(x + 6, foot);
    context.lineTo(x, foot - 7);
    context.fill();
  }

  close() {
    this.observer.disconnect();
  }
}

function shortened(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  for (let length = text.length - 1; length > 2; length--) {
    const cut = `${text.slice(0, length)}…`;
    if (context.measureText(cut).width <= width) return cut;
  }
  return "";
}
