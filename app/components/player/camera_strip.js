// All cameras that the model reads, side by side and small, each with its overlay; a press shows one large.

import { el, sizedContext } from "./dom.js";
import { drawFrame, drawMarks, drawOverlays, fitted } from "./stage_drawing.js";

export class CameraStrip {
  constructor({ onCamera }) {
    this.onCamera = onCamera;
    this.node = el("div", { class: "camera-strip", role: "group", "aria-label": "Cameras that the model reads", hidden: true });
    this.views = new Map();
    this.pictures = [];
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.node);
  }

  // pictures: [{ camera, share, frame, width, height, overlays, opacity, smooth, marks }]; nothing is shown of one alone.
  show(pictures, chosen) {
    this.node.hidden = pictures.length < 2;
    if (this.node.hidden) return;
    const names = pictures.map(({ camera }) => camera);
    if (names.join("\n") !== [...this.views.keys()].join("\n")) this.build(names);
    this.pictures = pictures;
    for (const { camera, share } of pictures) {
      const { button, label } = this.views.get(camera);
      button.setAttribute("aria-pressed", String(camera === chosen));
      label.textContent = share ? `${camera} · ${share}` : camera;
      button.title = share ? `${camera}: ${share} of the row; show it large` : `Show ${camera} large`;
    }
    this.draw();
  }

  build(names) {
    this.views.clear();
    this.node.replaceChildren(...names.map((camera) => {
      const canvas = el("canvas", { class: "camera-canvas" });
      const label = el("span", { class: "camera-name" });
      const button = el("button", { type: "button", class: "camera", "data-camera": camera, onclick: () => this.onCamera(camera) }, canvas, label);
      this.views.set(camera, { canvas, label, button });
      return button;
    }));
  }

  draw() {
    const font = getComputedStyle(this.node).fontFamily;
    for (const picture of this.pictures) {
      const { canvas } = this.views.get(picture.camera);
      if (picture.frame) canvas.style.aspectRatio = `${picture.width} / ${picture.height}`;
      const context = sizedContext(canvas);
      context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
      if (!picture.frame) continue;
      const fit = fitted(picture, canvas.clientWidth, canvas.clientHeight);
      drawFrame(context, fit, picture);
      drawOverlays(context, fit, picture.overlays, picture.opacity, picture.smooth);
      if (picture.marks) drawMarks(context, fit, picture.marks, font, false);
    }
  }

  close() {
    this.observer.disconnect();
  }
}
