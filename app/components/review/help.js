// The overlay that "?" opens: all keys, each a button that changes it.

import { el } from "./dom.js";
import { ACTIONS } from "./keys.js";

export function helpOverlay(keyMap, onChange) {
  const dialog = el("dialog", { class: "help", "aria-label": "Keys" });
  const said = el("p", { class: "quiet", role: "status" });
  let waiting = null;

  const draw = (focused) => {
    const row = ([action, , meaning]) => el("tr", {},
      el("th", { scope: "row" }, el("button", {
        type: "button", class: "key", "data-action": action, text: waiting === action ? "press a key" : keyMap.label(action),
        onclick: () => { waiting = action; said.textContent = "Press the new key, Escape to leave it."; draw(action); },
      })), el("td", { text: meaning }));
    const half = Math.ceil(ACTIONS.length / 2);
    const table = (rows) => el("table", {}, el("tbody", {}, rows.map(row)));
    dialog.replaceChildren(el("h3", { text: "Keys" }), el("div", { class: "two" }, table(ACTIONS.slice(0, half)), table(ACTIONS.slice(half))), said,
      el("div", { class: "row" }, el("span", { class: "quiet grow", text: "Click a key to change it. In a text: Esc leaves it, Ctrl+Enter sends." }),
        el("button", { type: "button", "data-action": "reset", text: "As it was", onclick: () => { keyMap.reset(); waiting = null; draw("reset"); onChange(); } }),
        el("button", { type: "button", class: "strong", text: "Close", onclick: () => dialog.close() })));
    dialog.querySelector(`[data-action="${focused}"]`)?.focus(); // the button that was pressed is a new one now
  };
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (!waiting) {
      if (keyMap.actionOf(event.key) === "help") dialog.close();
      return;
    }
    event.preventDefault();
    if (event.key === "Shift") return;
    if (event.key !== "Escape" && !keyMap.set(waiting, event.key)) {
      said.textContent = "That key cannot be used here; press another.";
      return;
    }
    const changed = waiting;
    waiting = null;
    said.textContent = "";
    draw(changed);
    onChange();
  });
  dialog.addEventListener("cancel", (event) => { if (waiting) event.preventDefault(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  return { node: dialog, toggle: () => { if (dialog.open) dialog.close(); else { waiting = null; draw(); dialog.showModal(); } } };
}
