// Rollout of a captured step, and what to do where the rows that it passes through were not kept.

import { gatherRows } from "./bundle.js";
import { meanHeads, rollout } from "./reductions.js";

const known = new WeakMap();

// Attention of the sequence position `query` (on the Q axis) rolled out through all layers: Float32Array [K].
export function rolledOut(bundle, query) {
  if (!known.has(bundle)) known.set(bundle, { rows: new Map(), rowOf: headMeans(bundle) });
  const { rows, rowOf } = known.get(bundle);
  if (!rows.has(query)) rows.set(query, rollout(rowOf, bundle.layers.length, bundle.queries[query], bundle.shape[3]));
  return rows.get(query);
}

function headMeans(bundle) {
  const queryAt = new Map(bundle.queries.map((position, query) => [position, query]));
  const means = new Map();
  return (layer, position) => {
    if (!means.has(position)) {
      const rows = gatherRows(bundle, [queryAt.get(position)]);
      means.set(position, bundle.layers.map((_, index) => meanHeads(rows, [index])));
    }
    return means.get(position)[layer];
  };
}

export function whyNoRollout(bundle) {
  if (bundle.stream === "action expert") return "Rollout follows one stack of layers; an action expert reads the keys of another one, so it has none.";
  if (bundle.captured.some((number, index) => number !== index)) return "Rollout needs every layer from 0 on; this record holds only some.";
  const rows = new Set(bundle.queries);
  const last = Math.max(...bundle.queries);
  for (let position = 0; position <= last; position++) {
    if (!rows.has(position)) return "Rollout passes through the prompt's own tokens, whose rows this record does not keep.";
  }
  return "";
}

// { why, action }: the sentence and the words on the button (none while the capture is under way), or null.
export function rolloutOffer(panes) {
  const lacking = panes.filter((pane) => pane.bundle()?.weights && whyNoRollout(pane.bundle()));
  if (!lacking.length) return null;
  const { run } = lacking[0];
  if (lacking[0].bundle().stream === "action expert") return { why: whyNoRollout(lacking[0].bundle()), action: "" };
  if (run.rows && run.busy()) return { why: "All rows are being captured; this step is not there yet.", action: "" };
  const size = Math.max(...lacking.map((pane) => bytesOfAllRows(pane.bundle())));
  return { why: whyNoRollout(lacking[0].bundle()), action: `Capture all rows (${megabytes(size)} a step)` };
}

function bytesOfAllRows({ captured, shape: [, heads, , positions] }) {
  return 2 * captured.length * heads * positions * positions;
}

function megabytes(bytes) {
  const size = bytes / 1e6;
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} MB`;
}
