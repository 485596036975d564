// The moment as a still, with where the model looked, and beside it the clip of what came next.

import { el, icon, setText } from "./dom.js";

const SPEED = 1;
const SLOWEST = 2, FASTEST = 30; // frames a second
const PLAY = "M4 2.5v11l9-5.5z", STOP = "M4 3h3v10H4zM9 3h3v10H9z";

export class Pictures {
  constructor(moment, settings, onSettings) {
    Object.assign(this, { moment, settings, onSettings, at: moment.facts?.start ?? 0, timer: null });
    this.node = el("section", { class: "pictures", "aria-label": "Frames" });
    if (moment.facts) this.build();
    else this.node.append(el("p", { class: "notice", text: `The frames cannot be shown: ${moment.error || "they are not there"}` }));
  }

  build() {
    const { cameras, start, stop, end, length } = this.moment.facts;
    this.stills = cameras.map((camera) => canvasOf(`${camera}, step ${start}`));
    this.clips = cameras.map((camera) => canvasOf(`${camera}, clip`));
    const last = stop - 1;
    this.caption = el("span");
    this.slider = el("input", { type: "range", min: start, max: end - 1, step: 1, "aria-label": "Step of the clip", oninput: () => { this.stop(); this.show(Number(this.slider.value)); } });
    this.button = el("button", { type: "button", class: "icon", "aria-label": "Play the clip", onclick: () => this.toggle() });
    this.looks = el("button", { type: "button", class: "look", "aria-pressed": "false", hidden: true, onclick: () => this.toggleLook() });
    const covered = el("span", { class: "covered", title: "steps that the rationale is about", style: { width: `${(100 * (stop - start)) / Math.max(1, end - start)}%` } });
    const about = stop - start > 1 ? `the rationale covers steps ${start} to ${last} of ${length}` : `the rationale is about step ${start} of ${length}`;
    this.node.append(
      el("div", { class: `grid${cameras.length > 1 ? " several" : ""}` },
        cameras.flatMap((camera, i) => [
          el("figure", {}, this.stills[i], el("figcaption", { text: `${camera} · step ${start}` })),
          el("figure", {}, this.clips[i], el("figcaption", {}, i === 0 ? this.caption : el("span", { text: camera }))),
        ])),
      el("div", { class: "transport" }, this.button, el("div", { class: "track" }, covered, this.slider), this.looks),
      el("p", { class: "quiet small", text: about }));
    this.show(start);
    this.sign();
    this.moment.loadClip().then(() => { if (this.node.isConnected && this.settings.play) this.play(); });
    this.moment.loadLooked().then(() => this.drawLook());
  }

  show(step) {
    if (!this.moment.facts) return;
    const { cameras, start, stop } = this.moment.facts;
    this.at = step;
    this.slider.value = step;
    setText(this.caption, step < stop ? `step ${step}` : `step ${step} · what came next`);
    cameras.forEach((camera, i) => {
      this.draw(this.stills[i], camera, start);
      this.draw(this.clips[i], camera, step);
    });
    if (this.moment.looked && this.settings.look) this.drawLook();
    this.onStep?.(step);
  }

  draw(canvas, camera, step) {
    const bitmap = this.moment.frames.get(camera, step);
    if (!bitmap) {
      this.moment.frames.load(camera, step).then(() => { if (this.node.isConnected && (this.at === step || step === this.moment.facts.start)) this.show(this.at); }, () => {});
      return;
    }
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.dataset.step = step;
  }

  drawLook() {
    const looked = this.moment.looked;
    if (!looked || !this.looks) return;
    this.looks.hidden = false;
    this.looks.setAttribute("aria-pressed", String(this.settings.look));
    this.looks.title = `Attention of ${looked.name}, mean over layers, heads${looked.words ? ` and ${looked.words} words` : " and all its words"}`;
    setText(this.looks, `Where ${looked.name} looked`);
    if (!this.settings.look) return;
    this.moment.facts.cameras.forEach((camera, i) => {
      const map = looked.maps.find((one) => one.camera === camera);
      if (map) paint(this.stills[i].getContext("2d"), map);
    });
  }

  toggleLook() {
    if (!this.moment.looked) return;
    this.onSettings({ look: !this.settings.look });
    this.settings = { ...this.settings, look: !this.settings.look };
    this.show(this.at);
    this.drawLook();
  }

  get playing() {
    return this.timer !== null;
  }

  play() {
    const { steps, facts } = this.moment;
    if (this.playing || steps.length < 2) return;
    const rate = Math.min(FASTEST, Math.max(SLOWEST, (facts.fps || 5) * SPEED));
    this.timer = setInterval(() => {
      if (!this.node.isConnected) return this.stop();
      this.show(steps[(steps.findIndex((step) => step >= this.at) + 1) % steps.length]);
    }, 1000 / rate);
    this.sign();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.sign();
  }

  toggle() {
    if (!this.moment.facts) return;
    const play = !this.playing;
    if (play) this.play(); else this.stop();
    this.onSettings({ play });
    this.settings = { ...this.settings, play };
  }

  step(by) {
    if (!this.moment.facts) return;
    this.stop();
    const { start, end } = this.moment.facts;
    this.show(Math.min(end - 1, Math.max(start, this.at + by)));
  }

  sign() {
    this.button?.replaceChildren(icon(this.playing ? STOP : PLAY));
    this.button?.setAttribute("aria-label", this.playing ? "Stop the clip" : "Play the clip");
  }
}

function canvasOf(label) {
  return el("canvas", { role: "img", "aria-label": label, width: 256, height: 256 });
}

// Patches as a veil: what was looked at most is brightest; the scale is the map's own.
function paint(context, { rows, columns, box, weights }) {
  const most = Math.max(...weights, 1e-12);
  const [left, top, right, bottom] = box;
  const width = (right - left) / columns, height = (bottom - top) / rows;
  context.save();
  weights.forEach((weight, i) => {
    context.fillStyle = `rgb(255 140 0 / ${(0.75 * weight) / most})`;
    context.fillRect(left + (i % columns) * width, top + Math.floor(i / columns) * height, width + 0.5, height + 0.5);
  });
  context.restore();
}
