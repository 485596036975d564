// Keys work while the player has the focus, and page-wide while nothing that takes keys has it. C and R are Streamlit's.

export const KEYS = [
  ["←  →", "one step back, forward"], ["Shift ← →", "ten steps"], ["Home  End", "first, last step"],
  ["Space", "play, pause"], ["↑  ↓", "layer up, down"], ["[  ]", "head before, after"], ["M  O", "marks of the policy, objects of the data set"],
  ["1 … 5", "one head, mean, max, top-k, rollout"], ["A", "query: all action tokens"],
  ["W  Shift W", "next, previous rationale word as query"], ["D  Shift D", "next, previous action (or step of a chunk) as query"],
  [",  .", "less, more opacity"], ["Tab, arrows, Enter", "in the picture: walk over patches, pick one"], ["Esc", "leave the picked patch"], ["?", "these keys"],
];

const TAKES_KEYS = "input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable=true], [role=combobox], "
  + "[role=listbox], [role=textbox], [role=dialog], dialog";

function elsewhere(event, root) {
  const target = event.composedPath()[0];
  if (!(target instanceof Element)) return false;
  if (target.closest(TAKES_KEYS)) return true;
  const inside = event.composedPath().includes(root);
  // Outside the player, widgets keep their own keys: arrows on tabs, space on buttons.
  return !inside && target.closest("button, a, input, [role=tab], [role=slider], [role=radio]") !== null;
}

// Inside the player a focused button keeps space and Enter, a range input its arrows.
function ownKey(event) {
  const target = event.composedPath()[0];
  if (!(target instanceof Element)) return false;
  if (event.key === " " && target.closest("button, input")) return true;
  if (event.key.startsWith("Arrow") && event.shiftKey) return target.matches("input[type=range]");
  if (event.key === "Home" || event.key === "End") return target.matches("input[type=range]");
  if (event.key.startsWith("Arrow")) {
    return target.matches("input[type=range]") || target.closest("[data-arrows]") !== null;
  }
  return false;
}

export function listen(root, actions) {
  const onKey = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!root.isConnected || elsewhere(event, root) || ownKey(event)) return;
    const action = actions[event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
