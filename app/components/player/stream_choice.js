// Whose attention is shown, where a step holds several: language model, action expert by denoising step, vision towers.

import { choice, el, setText, slider } from "./dom.js";

const NAMES = { language: "language model", vision: "vision tower" };

export class StreamChoice {
  constructor({ update }) {
    this.streams = "";
    this.stream = choice("Attention of", [], (stream) => update({ stream, patch: -1 }));
    this.denoise = slider("Denoising step", { min: 1, max: 1, step: 1 }, (value) => `${value} of ${this.last}`, (value) => update({ denoise: value === this.last ? -1 : value - 1 }));
    this.denoise.node.classList.add("denoise");
    this.node = el("div", { class: "row streams" }, this.stream.node, this.denoise.node);
  }

  show(bundle) {
    const streams = bundle?.streams ?? [];
    const own = streams.find(({ name }) => name === bundle.stream);
    this.stream.node.hidden = streams.length < 2;
    this.denoise.node.hidden = !own || own.denoising.length < 2;
    this.node.hidden = this.stream.node.hidden && this.denoise.node.hidden;
    if (this.node.hidden) return;
    this.offer(streams);
    this.stream.set(bundle.stream);
    if (this.denoise.node.hidden) return;
    this.last = own.denoising.length;
    this.denoise.set(own.denoising.indexOf(bundle.denoising_step) + 1, { max: this.last });
  }

  offer(streams) {
    const key = streams.map(({ name }) => name).join("\n");
    if (key === this.streams) return;
    this.streams = key;
    this.stream.select.replaceChildren(...streams.map(({ name }) => {
      const option = el("option", { value: name });
      setText(option, NAMES[name] ?? name);
      return option;
    }));
  }
}

export function describeStream({ stream, denoising_step: denoising, streams }) {
  if (stream === "language" && streams.length < 2) return "";
  const steps = streams.find(({ name }) => name === stream)?.denoising.length;
  const step = denoising === null ? "" : `, denoising step ${denoising + 1} of ${steps}`;
  return `${NAMES[stream] ?? stream}${step} · `;
}
