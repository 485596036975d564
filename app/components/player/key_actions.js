// What each key does to the player.

import { layerRange } from "./attention_view.js";

export function keyActions(player) {
  const step = (by) => () => player.go(player.view.step + by);
  const reduce = (name) => () => player.update({ reduce: name });
  const opacity = (by) => () => player.update({ opacity: Math.min(1, Math.max(0, Math.round((player.view.opacity + by) * 20) / 20)) });
  return {
    ArrowLeft: step(-1), ArrowRight: step(1), "Shift+ArrowLeft": step(-10), "Shift+ArrowRight": step(10),
    Home: () => player.go(0), End: () => player.go(player.episode.length - 1), " ": () => player.playback.toggle(),
    ArrowUp: () => moveLayer(player, 1), ArrowDown: () => moveLayer(player, -1),
    "[": () => moveHead(player, -1), "]": () => moveHead(player, 1),
    1: reduce("head"), 2: reduce("mean"), 3: reduce("max"), 4: reduce("topk"), 5: reduce("rollout"),
    a: () => player.ask("action"), w: () => moveWord(player, 1), W: () => moveWord(player, -1),
    d: () => moveDimension(player, 1), D: () => moveDimension(player, -1),
    m: () => player.update({ marks: Number(!player.view.marks) }), o: () => player.update({ objects: Number(!player.view.objects) }),
    ",": opacity(-0.05), ".": opacity(0.05), Escape: () => player.update({ patch: -1 }), "?": () => player.help.toggle(),
  };
}

function moveLayer(player, by) {
  const bundle = player.anyBundle();
  if (!bundle?.weights) return;
  const clamp = (layer) => Math.min(bundle.captured.length - 1, Math.max(0, layer));
  const { view } = player;
  if (view.reduce === "head") player.update({ layer: clamp(view.layer + by) });
  else {
    const range = layerRange(bundle, view);
    const layer = range.length > 1 ? (by > 0 ? range[range.length - 1] : range[0]) : clamp(range[0] + by);
    player.update({ layer, from: layer, to: layer });
  }
}

function moveHead(player, by) {
  const bundle = player.anyBundle();
  if (!bundle?.weights) return;
  const head = Math.min(bundle.shape[1] - 1, Math.max(0, player.view.head + (player.view.reduce === "head" ? by : 0)));
  player.update({ reduce: "head", head });
}

function moveWord(player, by) {
  const words = player.panes.map((pane) => pane.bundle()?.words.length ?? 0).find((count) => count > 0);
  if (!words) return;
  const match = /^word\.(\d+)$/.exec(player.view.query);
  const next = match ? Number(match[1]) + by : by > 0 ? 0 : words - 1;
  player.ask(`word.${Math.min(words - 1, Math.max(0, next))}`);
}

function moveDimension(player, by) {
  if (player.anyBundle()?.continuous) return moveChunkStep(player, by);
  const dims = player.dimensions();
  const at = Math.min(dims.length - 1, player.view.dim);
  if (at < 0) return undefined;
  const asked = player.view.query === `action.${dims[at].name}`;
  return player.pickDimension(asked ? (at + by + dims.length) % dims.length : at);
}

// A chunk of continuous actions has a row a step, not a dimension.
function moveChunkStep(player, by) {
  const names = player.anyBundle().generated.filter(({ part }) => part === "action").map(({ name }) => name);
  const at = names.findIndex((name) => player.view.query === `action.${name}`);
  player.ask(`action.${names[at < 0 ? (by > 0 ? 0 : names.length - 1) : (at + by + names.length) % names.length]}`);
}
