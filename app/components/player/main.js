// Entry point of the component: called at every Streamlit rerun; a player lives as long as its episode and checkpoints.

import { Player, failure } from "./player.js";
import { fetchStatus } from "./run.js";
import { fetchEpisode } from "./source.js";
import { DEFAULTS, fromUrl } from "./view_state.js";

const mounted = new WeakMap();

function identity({ dataset, episode, panes }) {
  return JSON.stringify([dataset, episode, panes.map(({ checkpoint, action_stats: stats, family, cameras }) => [checkpoint, stats, family, cameras])]);
}

export async function mount(parent, config) {
  const key = identity(config);
  const held = mounted.get(parent);
  if (held?.key === key) {
    held.player?.url.keep();
    return;
  }
  held?.player?.close();
  const entry = { key, player: null };
  mounted.set(parent, entry);
  const root = parent.querySelector("[data-lens-root]");
  const view = viewFor(held, config);
  try {
    // Asked for together: a round trip less before the first picture.
    const statuses = config.panes.map((pane) => fetchStatus(config, pane, view.rows));
    const episode = await fetchEpisode(config.base, config.dataset, config.episode);
    if (mounted.get(parent) === entry) entry.player = new Player(root, config, episode, view, statuses);
  } catch (error) {
    root.replaceChildren(failure(error.message));
  }
}

// A new episode starts at its first step; another checkpoint on the same episode keeps the place.
function viewFor(held, { dataset, episode, panes }) {
  if (!held?.player) return fromUrl(window.location.search);
  const { config, view } = held.player;
  const same = config.dataset === dataset && config.episode === episode;
  // Where the policy sees other cameras than before, the shown one is chosen anew.
  const camera = panes.every(({ cameras }, i) => cameras === config.panes[i]?.cameras) ? view.camera : DEFAULTS.camera;
  return { ...view, camera, step: same ? view.step : DEFAULTS.step, patch: DEFAULTS.patch };
}

export function unmount(parent) {
  mounted.get(parent)?.player?.close();
  mounted.delete(parent);
}
