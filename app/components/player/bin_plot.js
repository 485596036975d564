// What the policy thought of every bin of one action dimension at this step.

import { el, setText, sizedContext } from "./dom.js";
import { percent } from "./attention_view.js";
import { signed } from "./token_strips.js";

export class BinPlot {
  constructor() {
    this.canvas = el("canvas", { role: "img" });
    this.title = el("span", { class: "plot-title still" });
    this.detail = el("div", { class: "error" });
    this.node = el("div", { class: "plot bins" }, el("div", { class: "plot-head" }, this.title), this.canvas, this.detail);
    this.observer = new ResizeObserver(() => this.value && this.show(this.value));
    this.observer.observe(this.canvas);
  }

  // value: { name, unit, recorded, sets: [{ values, probabilities, mass, predicted, colour }] }
  show(value) {
    this.value = value;
    const style = getComputedStyle(this.node);
    const colour = (name) => style.getPropertyValue(name).trim();
    setText(this.title, `bins of ${value.name} now${value.unit ? ` (${value.unit})` : ""}`);
    const first = value.sets[0];
    setText(this.detail, first ? `p ${percent(Math.max(...first.probabilities))} · entropy ${entropy(first.probabilities).toFixed(1)} bit` : "");
    const context = sizedContext(this.canvas);
    const box = { width: this.canvas.clientWidth, height: this.canvas.clientHeight, font: style.fontFamily };
    context.clearRect(0, 0, box.width, box.height);
    if (!first) return this.empty(context, box, colour("--ink"));
    const [low, high] = span(value);
    const x = (number) => 8 + ((number - low) / (high - low)) * (box.width - 16);
    value.sets.forEach((set, index) => drawBars(context, box, set, x, colour(set.colour), index, value.sets.length));
    if (value.recorded !== null) marker(context, box, x(value.recorded), colour("--recorded"), "recorded");
    context.fillStyle = colour("--ink");
    context.globalAlpha = 0.7;
    context.font = `12px ${box.font}`;
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.fillText(signed(low), 8, box.height - 1);
    context.textAlign = "right";
    context.fillText(signed(high), box.width - 8, box.height - 1);
    context.globalAlpha = 1;
    this.canvas.setAttribute("aria-label", `distribution over ${first.values.length} bins of ${value.name}; predicted ${signed(first.predicted)}, recorded ${signed(value.recorded)}`);
  }

  empty(context, box, ink) {
    context.fillStyle = ink;
    context.globalAlpha = 0.6;
    context.font = `13px ${box.font}`;
    context.fillText("Not captured at this step yet.", 8, box.height / 2);
    context.globalAlpha = 1;
  }

  close() {
    this.observer.disconnect();
  }
}

export function entropy(probabilities) {
  let sum = 0;
  for (const p of probabilities) if (p > 0) sum -= p * Math.log2(p);
  return sum;
}

// The shown range holds everything above a thousandth of the largest probability, and the recorded value.
function span({ sets, recorded }) {
  let [low, high] = recorded === null ? [Infinity, -Infinity] : [recorded, recorded];
  for (const { values, probabilities } of sets) {
    const floor = Math.max(...probabilities) / 1000;
    values.forEach((value, i) => {
      if (probabilities[i] < floor) return;
      low = Math.min(low, value);
      high = Math.max(high, value);
    });
  }
  const bin = Math.abs(sets[0].values[1] - sets[0].values[0]) || 1e-3;
  return [low - 3 * bin, high + 3 * bin];
}

function drawBars(context, box, { values, probabilities, predicted }, x, colour, index, count) {
  const top = Math.max(...probabilities);
  const width = Math.max(1.5, (x(values[1]) - x(values[0])) * (count > 1 ? 0.45 : 0.9));
  context.fillStyle = colour;
  context.globalAlpha = 0.85;
  values.forEach((value, i) => {
    const height = (probabilities[i] / top) * (box.height - 34);
    if (height > 0.3) context.fillRect(x(value) - (count > 1 ? (1 - index) * width : width / 2), box.height - 17 - height, width, height);
  });
  context.globalAlpha = 1;
  if (index === 0) marker(context, box, x(predicted), colour, "predicted");
}

function marker(context, box, x, colour, kind) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = kind === "recorded" ? 2 : 1;
  context.beginPath();
  context.moveTo(x, kind === "recorded" ? 6 : 12);
  context.lineTo(x, box.height - 16);
  context.stroke();
  context.beginPath();
  context.moveTo(x - 4, 2);
  context.lineTo(x + 4, 2);
  context.lineTo(x, 9);
  context.fill();
}
