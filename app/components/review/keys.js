// Which key does what; every key can be changed, and this browser remembers it.

export const ACTIONS = [
  ["verdict1", "1", "this part: first verdict (correct)"], ["verdict2", "2", "second (partly)"], ["verdict3", "3", "third (wrong)"], ["verdict4", "4", "fourth (cannot tell)"],
  ["error1", "q", "first kind of error"], ["error2", "w", "second"], ["error3", "e", "third"], ["error4", "r", "fourth"],
  ["error5", "t", "fifth"], ["error6", "y", "sixth"], ["error7", "u", "seventh"],
  ["accept", "a", "whole rationale: accept"], ["correct", "s", "correct: good once corrected"], ["reject", "d", "reject"], ["unsure", "f", "unsure"],
  ["good", "g", "all other parts correct, and accept"], ["submit", "Enter", "send and go on"],
  ["down", "j", "next part (also ↓)"], ["up", "k", "part before (also ↑)"], ["edit", "c", "correct this part's text"], ["comment", "m", "comment"],
  ["undo", "z", "undo a change, then the last judgement"], ["skip", "n", "give this item back, take another"],
  ["play", " ", "play, stop"], ["back", "ArrowLeft", "a step back"], ["on", "ArrowRight", "a step on"], ["look", "l", "where the model looked"],
  ["help", "?", "these keys"],
];
const ALSO = { ArrowDown: "down", ArrowUp: "up" };
const FIXED = new Set(["Escape", "Tab", "Shift", "Control", "Alt", "Meta", "ArrowDown", "ArrowUp"]);
const WORDS = { " ": "Space", ArrowLeft: "←", ArrowRight: "→" };

export function hasKey(action) {
  return ACTIONS.some(([name]) => name === action);
}

export class KeyMap {
  constructor(keep) {
    this.keep = keep;
    this.load(keep.read("keys"));
  }

  load(stored) {
    this.keys = Object.fromEntries(ACTIONS.map(([action, key]) => [action, key]));
    for (const [action, key] of Object.entries(stored ?? {})) if (action in this.keys && typeof key === "string") this.keys[action] = key;
  }

  actionOf(key) {
    const plain = key.length === 1 ? key.toLowerCase() : key;
    return Object.keys(this.keys).find((action) => this.keys[action] === plain) ?? ALSO[key];
  }

  // A key that already does something changes places; false where it cannot be one.
  set(action, pressed) {
    const key = pressed.length === 1 ? pressed.toLowerCase() : pressed;
    if (FIXED.has(key) || key === "Dead" || key === "Unidentified") return false;
    const other = Object.keys(this.keys).find((name) => this.keys[name] === key);
    if (other) this.keys[other] = this.keys[action];
    this.keys[action] = key;
    this.keep.write(["keys"], this.keys);
    return true;
  }

  reset() {
    this.keep.remove("keys");
    this.load(null);
  }

  // "" for what has none.
  label(action) {
    const key = this.keys[action] ?? "";
    return WORDS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  }
}

const TAKES_TEXT = "input:not([type=checkbox]):not([type=range]):not([type=radio]), textarea, select, [contenteditable=true], [role=combobox], [role=listbox], [role=textbox], [role=dialog], dialog";

// Listens before Streamlit does, whose own keys (R, C) must not get what is meant for the page.
export function listen(root, keyMap, act) {
  const onKey = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !root.isConnected) return;
    if (root.querySelector("dialog[open]")) return;
    const target = event.composedPath()[0];
    const inside = event.composedPath().includes(root);
    if (target instanceof Element && target.closest(TAKES_TEXT)) return;
    if (target instanceof Element && !inside && target.closest("button, a, input, summary, [role=tab], [role=slider], [role=radio]")) return;
    // A focused button inside keeps Space and Enter; everything else is the page's.
    if (target instanceof Element && [" ", "Enter"].includes(event.key) && target.closest("button, a, summary, input")) return;
    const action = keyMap.actionOf(event.key);
    if (!action) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    act(action, event);
  };
  window.addEventListener("keydown", onKey, true);
  return () => window.removeEventListener("keydown", onKey, true);
}
