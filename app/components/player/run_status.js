// What the model run behind a pane is doing, with the one button that makes sense now.

import { el, setText } from "./dom.js";

export class RunStatus {
  constructor({ onStart, onStop }) {
    this.onStart = onStart;
    this.onStop = onStop;
    this.text = el("span", { class: "status-text" });
    this.bar = el("progress", { max: "1", "aria-label": "captured steps" });
    this.button = el("button", { type: "button", onclick: () => this.action?.() });
    this.node = el("div", { class: "run-status", role: "status" }, this.text, this.bar, this.button);
  }

  show(status) {
    const { state, captured, total } = status;
    this.node.dataset.state = state;
    setText(this.text, sentence(status));
    const busy = state === "running" || state === "loading" || state === "queued";
    this.bar.hidden = !busy;
    this.bar.value = total ? captured / total : 0;
    const label = busy ? "Stop" : state === "failed" ? "Try again" : captured < total ? "Run the model" : "";
    this.action = busy ? this.onStop : this.onStart;
    this.button.hidden = !label || state === "unknown";
    setText(this.button, label);
    this.node.hidden = state === "complete" || state === "none" || state === "unknown";
  }
}

function sentence({ state, message, captured, total, seconds_per_step: pace }) {
  const left = pace ? ` · about ${duration(pace * (total - captured))} left` : "";
  if (state === "failed") return message;
  if (state === "queued") return "Waiting for the run before this one to end.";
  if (state === "loading") return "Loading the model…";
  if (state === "running") return `Running the model: ${captured} of ${total} steps${left}`;
  return message || `${captured} of ${total} steps have been run with this checkpoint.`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
