// Play, pause, step, speed, and where we are.

import { choice, el, setText } from "./dom.js";

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

export class Transport {
  constructor({ onPlay, onStep, onJump, onSpeed, onHelp }) {
    const button = (text, label, action) =>
      el("button", { type: "button", class: "icon", text, title: label, "aria-label": label, onclick: action });
    this.play = button("▶", "Play (space)", onPlay);
    this.play.classList.add("play");
    this.where = el("span", { class: "where", "aria-live": "off" });
    this.phase = el("span", { class: "phase" });
    this.speed = choice("Speed", SPEEDS.map((value) => [String(value), `${value}×`]), (value) => onSpeed(Number(value)));
    this.node = el("div", { class: "transport" },
      button("⏮", "First step (Home)", () => onJump("first")), button("◀", "Step back (←)", () => onStep(-1)), this.play,
      button("▶︎|", "Step forward (→)", () => onStep(1)), button("⏭", "Last step (End)", () => onJump("last")),
      this.where, this.phase, el("span", { class: "grow" }), this.speed.node, button("?", "Keys (?)", onHelp));
    this.node.querySelectorAll("button")[3].textContent = "▶";
    this.node.querySelectorAll("button")[1].classList.add("slim");
    this.node.querySelectorAll("button")[3].classList.add("slim");
  }

  show({ step, length, fps, phase, playing, speed }) {
    setText(this.play, playing ? "❚❚" : "▶");
    this.play.setAttribute("aria-label", playing ? "Pause (space)" : "Play (space)");
    this.play.setAttribute("aria-pressed", String(playing));
    setText(this.where, `Step ${step} / ${length - 1}  ·  ${(step / fps).toFixed(1)} s  ·  ${trimmed(fps)} fps`);
    setText(this.phase, phase);
    this.speed.set(String(speed));
  }
}

function trimmed(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}
