// One small plot per action dimension over the whole episode: recorded against predicted, the cursor synced.

import { el, setText, sizedContext } from "./dom.js";
import { signed } from "./token_strips.js";

export class ActionPlots {
  constructor(handlers) {
    this.handlers = handlers;
    this.node = el("div", { class: "plots" });
    this.plots = [];
    this.built = "";
    this.observer = new ResizeObserver(() => this.value && this.show(this.value, true));
    this.observer.observe(this.node);
  }

  // Anew only when a policy turns out to have dimensions of its own; what else stands in the grid stays at its end.
  build(dims) {
    const key = dims.map(({ name, unit }) => `${name} ${unit}`).join("\n");
    if (key === this.built) return;
    this.built = key;
    this.plots.forEach(({ node }) => node.remove());
    this.plots = dims.map(({ name, unit }, dim) => this.plot(name, unit, dim, this.handlers));
    this.node.prepend(...this.plots.map(({ node }) => node));
  }

  plot(name, unit, dim, { onScrub, onRelease, onDimension }) {
    const canvas = el("canvas", { role: "img", "aria-label": `action ${name}` });
    const readout = el("span", { class: "readout" });
    const title = el("button", {
      type: "button", class: "plot-title", "data-dim": dim, onclick: () => onDimension(dim),
      title: `Show the bins of ${name} and ask about its token`,
    }, el("b", { text: name }), el("span", { class: "unit", text: unit ? ` (${unit})` : "" }));
    const error = el("div", { class: "error" });
    const node = el("div", { class: "plot" }, el("div", { class: "plot-head" }, title, readout), canvas, error);
    const at = (event) => {
      const place = (event.offsetX - LEFT) / Math.max(1, canvas.clientWidth - LEFT - RIGHT);
      return Math.min(this.value.length - 1, Math.max(0, Math.floor(place * this.value.length)));
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); onScrub(at(event), event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) onScrub(at(event), event); });
    canvas.addEventListener("pointerup", () => onRelease());
    return { node, canvas, readout, title, error, unit };
  }

  // value: { length, step, dim, recorded: [T][D], dims, key, series: [{ name, which, colour, values: [T][D] | null,
  // reach: [T][2][D] | null, least and most of the chunk, chunk: [steps][D] of the shown step }] }
  show(value, force = false) {
    this.build(value.dims);
    this.value = value;
    const style = getComputedStyle(this.node);
    this.ink = style.getPropertyValue("--ink").trim();
    this.colours = { recorded: style.getPropertyValue("--recorded").trim(), first: style.getPropertyValue("--predicted").trim(),
      second: style.getPropertyValue("--predicted-2").trim() };
    this.plots.forEach((plot, dim) => this.draw(plot, dim, ofDimension(value, value.dims[dim]), force));
  }

  draw({ node, canvas, readout, title, error, unit }, dim, value, force) {
    node.classList.toggle("picked", value.dim === dim);
    title.setAttribute("aria-pressed", String(value.dim === dim));
    setText(readout, reading(value));
    const context = sizedContext(canvas);
    const key = `${value.key}|${canvas.width}x${canvas.height}|${this.ink}`;
    if (force || canvas.key !== key) {
      this.background(canvas, value, key);
      setText(error, meanErrors(value, unit));
    }
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    context.drawImage(canvas.picture, 0, 0, canvas.clientWidth, canvas.clientHeight);
    this.cursor(context, canvas, value);
  }

  // Curves change only when predictions arrive: they are drawn once and kept as a picture.
  background(canvas, value, key) {
    canvas.key = key;
    canvas.picture = new OffscreenCanvas(canvas.width, canvas.height);
    const context = canvas.picture.getContext("2d");
    const ratio = canvas.width / canvas.clientWidth;
    context.scale(ratio, ratio);
    canvas.range = rangeOf(value);
    const box = { width: canvas.clientWidth, height: canvas.clientHeight, font: getComputedStyle(this.node).fontFamily };
    drawAxes(context, box, canvas.range, this.ink);
    drawCurve(context, box, canvas.range, value.length, value.recorded, this.colours.recorded, []);
    for (const { at, colour } of value.series) drawCurve(context, box, canvas.range, value.length, at, this.colours[colour], [5, 3]);
  }

  cursor(context, canvas, value) {
    const box = { width: canvas.clientWidth, height: canvas.clientHeight };
    const x = place(box, value.length, value.step);
    context.strokeStyle = this.ink;
    context.globalAlpha = 0.55;
    context.lineWidth = 1;
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(x, TOP);
    context.lineTo(x, box.height - BOTTOM);
    context.stroke();
    context.globalAlpha = 1;
    for (const { chunk, colour } of value.series) {
      if (chunk.length > 1) drawChunk(context, box, canvas.range, value, chunk, this.colours[colour]);
    }
    const points = [[value.recorded(value.step), this.colours.recorded],
      ...value.series.map(({ at, colour }) => [at(value.step), this.colours[colour]])];
    for (const [number, colour] of points) {
      if (number === null || number === undefined) continue;
      context.fillStyle = colour;
      context.beginPath();
      context.arc(x, level(box, canvas.range, number), 3.5, 0, 7);
      context.fill();
    }
  }

  close() {
    this.observer.disconnect();
  }
}

const [LEFT, RIGHT, TOP, BOTTOM] = [50, 8, 6, 6];

// The value with everything of one dimension picked out: `recorded(t)`, and of every series `at(t)` and its chunk now.
function ofDimension(value, { recorded, columns }) {
  const series = value.series.filter(({ which }) => columns[which] >= 0).map(({ which, values, reach, chunk, colour }) => ({
    colour, at: (t) => values[t]?.[columns[which]], reach: (t) => reach[t]?.map((row) => row[columns[which]]) ?? [], chunk: chunk.map((row) => row[columns[which]]),
  }));
  return { ...value, recorded: (t) => (recorded < 0 ? null : value.recorded[t][recorded]), series };
}

function rangeOf({ recorded, series, length }) {
  let [low, high] = [Infinity, -Infinity];
  const take = (number) => {
    if (number === null || number === undefined) return;
    low = Math.min(low, number);
    high = Math.max(high, number);
  };
  for (let t = 0; t < length; t++) {
    take(recorded(t));
    for (const { at, reach } of series) [at(t), ...reach(t)].forEach(take);
  }
  if (!Number.isFinite(low)) return [-1, 1];
  const pad = Math.max((high - low) * 0.08, Math.abs(high) * 1e-3, 1e-4);
  return [low - pad, high + pad];
}

function place({ width }, length, step) {
  return LEFT + ((step + 0.5) / length) * (width - LEFT - RIGHT);
}

function level({ height }, [low, high], number) {
  return TOP + (1 - (number - low) / (high - low)) * (height - TOP - BOTTOM);
}

function drawAxes(context, box, range, ink) {
  context.font = `12px ${box.font}`;
  context.fillStyle = ink;
  context.strokeStyle = ink;
  context.textAlign = "right";
  const inside = [range[0] + (range[1] - range[0]) * 0.08, range[1] - (range[1] - range[0]) * 0.08];
  const digits = Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(range[1] - range[0]))));
  for (const [number, baseline] of [[inside[1], "middle"], [inside[0], "middle"]]) {
    context.globalAlpha = 0.7;
    context.textBaseline = baseline;
    context.fillText(number.toFixed(digits).replace("-", "−"), LEFT - 6, level(box, range, number));
  }
  context.globalAlpha = 0.14;
  context.lineWidth = 1;
  const lines = range[0] < 0 && range[1] > 0 ? [0, ...inside] : inside;
  for (const number of lines) {
    context.beginPath();
    context.moveTo(LEFT, level(box, range, number));
    context.lineTo(box.width - RIGHT, level(box, range, number));
    context.stroke();
  }
  context.globalAlpha = 1;
}

function drawCurve(context, box, range, length, at, colour, dash) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.setLineDash(dash);
  context.beginPath();
  let open = false;
  for (let t = 0; t < length; t++) {
    const number = at(t);
    if (number === null || number === undefined) {
      open = false;
      continue;
    }
    const [x, y] = [place(box, length, t), level(box, range, number)];
    if (open) context.lineTo(x, y);
    else context.moveTo(x, y);
    const next = at(t + 1 < length ? t + 1 : t);
    if (!open && (next === null || next === undefined || t === length - 1)) context.rect(x - 1, y - 1, 2, 2);
    open = true;
  }
  context.stroke();
  context.setLineDash([]);
}

// The chunk that is predicted at the cursor, from there on; what lies beyond the plot is cut off.
function drawChunk(context, box, [low, high], { length, step }, chunk, colour) {
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, box.width - LEFT - RIGHT, box.height);
  context.clip();
  const clamped = (number) => (number === null ? null : Math.min(high, Math.max(low, number)));
  drawCurve(context, box, [low, high], length, (t) => (t < step ? null : clamped(chunk[t - step] ?? null)), colour, []);
  context.fillStyle = colour;
  chunk.forEach((number, at) => {
    if (number === null || step + at >= length) return;
    context.beginPath();
    context.arc(place(box, length, step + at), level(box, [low, high], clamped(number)), chunk.length > 12 ? 1.5 : 2.5, 0, 2 * Math.PI);
    context.fill();
  });
  context.restore();
}

function reading({ recorded, series, step }) {
  const truth = recorded(step);
  const said = series.map(({ at }) => at(step)).filter((number) => number !== null && number !== undefined);
  if (!said.length) return truth === null ? "" : `rec ${signed(truth)}`;
  if (said.length < 2 && truth === null) return signed(said[0]);
  const difference = said.length > 1 ? said[1] - said[0] : said[0] - truth;
  return `${said.map((number) => signed(number)).join(" / ")}  Δ ${signed(difference)}`;
}

// Mean absolute error against the recording, over the steps captured so far.
function meanErrors({ recorded, series, length }, unit) {
  const parts = series.flatMap(({ at }) => {
    const errors = [];
    for (let t = 0; t < length; t++) {
      const [number, truth] = [at(t), recorded(t)];
      if (number !== null && number !== undefined && truth !== null) errors.push(Math.abs(number - truth));
    }
    return errors.length ? [{ mean: errors.reduce((a, b) => a + b, 0) / errors.length, n: errors.length }] : [];
  });
  if (!parts.length) return series.length && recorded(0) === null ? "not recorded" : "";
  const counts = [...new Set(parts.map(({ n }) => n))].join(" / ");
  return `mean |error| ${parts.map(({ mean }) => mean.toFixed(4)).join(" / ")} ${unit} · n = ${counts}`;
}
