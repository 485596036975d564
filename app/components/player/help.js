// The overlay that "?" opens.

import { el } from "./dom.js";
import { KEYS } from "./keyboard.js";

export function helpOverlay() {
  const dialog = el("dialog", { class: "help", "aria-label": "Keys" });
  const close = el("button", { type: "button", text: "Close", onclick: () => dialog.close() });
  const rows = KEYS.map(([keys, meaning]) => el("tr", {}, el("th", { scope: "row", text: keys }), el("td", { text: meaning })));
  dialog.append(el("h3", { text: "Keys" }), el("table", {}, el("tbody", {}, rows)),
    el("p", { class: "quiet", text: "Click a word, an action or a patch to ask about it. Drag the timeline or a plot to scrub." }), close);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  return { node: dialog, toggle: () => (dialog.open ? dialog.close() : dialog.showModal()) };
}
