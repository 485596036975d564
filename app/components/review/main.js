// Entry point of the component: called at every Streamlit rerun; a desk lives as long as its project and person.

import { Desk } from "./desk.js";

const mounted = new WeakMap();
const YEAR = 365 * 24 * 3600;

function identity({ person, project, desk }) {
  return JSON.stringify([person, project.id, project.version, desk]);
}

export function mount(parent, config) {
  const key = identity(config);
  const held = mounted.get(parent);
  if (held?.key === key) return;
  held?.desk.close();
  if (config.remember) document.cookie = `${config.remember}=${encodeURIComponent(config.person)}; path=/; max-age=${YEAR}; samesite=strict`;
  const root = parent.querySelector("[data-review-root]");
  mounted.set(parent, { key, desk: new Desk(root, config) });
}

export function unmount(parent) {
  mounted.get(parent)?.desk.close();
  mounted.delete(parent);
}
