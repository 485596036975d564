// Play, pause, step, speed, and where we are.

import { choice, el, icon, setText } from "./dom.js";

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];
const BAR_LEFT = "M2 2h2v12H2z";
const BAR_RIGHT = "M12 2h2v12h-2z";
const FORWARD = "M4 2l9 6-9 6z";
const BACK = "M12 2L3 8l9 6z";
const PAUSE = "M3 2h4v12H3zM9 2h4v12H9z";

export class Transport {
  constructor({ onPlay, onStep, onJump, onSpeed, onHelp }) {
    const button = (shapes, label, action) =>
      el("button", { type: "button", class: "icon", title: label, "aria-label": label, onclick: action }, shapes.map((d) => icon(d)));
    this.play = button([FORWARD], "Play (space)", onPlay);
    this.play.classList.add("play");
    this.where = el("span", { class: "where" });
    this.phase = el("span", { class: "phase" });
    this.speed = choice("Speed", SPEEDS.map((value) => [String(value), `${value}×`]), (value) => onSpeed(Number(value)));
    this.speed.node.firstChild.remove();
    this.speed.node.title = "Speed, times the episode's own rate";
    this.node = el("div", { class: "transport" },
      el("button", { type: "button", class: "icon", title: "First step (Home)", "aria-label": "First step (Home)", onclick: () => onJump("first") },
        icon(BAR_LEFT, "M14 2L6 8l8 6z")),
      button([BACK], "Step back (←)", () => onStep(-1)), this.play, button([FORWARD], "Step forward (→)", () => onStep(1)),
      el("button", { type: "button", class: "icon", title: "Last step (End)", "aria-label": "Last step (End)", onclick: () => onJump("last") },
        icon(BAR_RIGHT, "M2 2l8 6-8 6z")),
      this.where, this.phase, this.speed.node,
      el("button", { type: "button", class: "icon", text: "?", title: "Keys (?)", "aria-label": "Keys (?)", onclick: onHelp }));
  }

  show({ step, length, fps, phase, playing, speed }) {
    if (this.playing !== playing) {
      this.play.replaceChildren(icon(playing ? PAUSE : FORWARD));
      this.play.setAttribute("aria-label", playing ? "Pause (space)" : "Play (space)");
      this.play.title = playing ? "Pause (space)" : "Play (space)";
      this.playing = playing;
    }
    setText(this.where, `${step} / ${length - 1}  ·  ${(step / fps).toFixed(1)} s`);
    this.where.title = `step ${step} of 0 to ${length - 1}, recorded at ${fps} frames a second`;
    setText(this.phase, phase);
    this.speed.set(String(speed));
  }
}
