// Pure reductions of attention rows, the formulas of analysis/attention.py (tests/browser compares the two).
// `gathered` is { rows: Float32Array [L * A * K], layers, heads, positions }.

function lane(gathered, layer, head) {
  const at = (layer * gathered.heads + head) * gathered.positions;
  return gathered.rows.subarray(at, at + gathered.positions);
}

export function oneHead(gathered, layer, head) {
  return Float32Array.from(lane(gathered, layer, head));
}

function lanesOf(gathered, layers) {
  return layers.flatMap((layer) => Array.from({ length: gathered.heads }, (_, head) => [layer, head]));
}

export function meanOf(gathered, lanes) {
  const out = new Float32Array(gathered.positions);
  for (const [layer, head] of lanes) {
    const row = lane(gathered, layer, head);
    for (let k = 0; k < out.length; k++) out[k] += row[k] / lanes.length;
  }
  return out;
}

export function meanHeads(gathered, layers) {
  return meanOf(gathered, lanesOf(gathered, layers));
}

export function maxHeads(gathered, layers) {
  const out = new Float32Array(gathered.positions);
  for (const [layer, head] of lanesOf(gathered, layers)) {
    const row = lane(gathered, layer, head);
    for (let k = 0; k < out.length; k++) out[k] = Math.max(out[k], row[k]);
  }
  return out;
}

export function shareOf(row, ranges) {
  let sum = 0;
  for (const [start, stop] of ranges) for (let k = start; k < stop; k++) sum += row[k];
  return sum;
}

// What the k best are chosen among: [{ layer, head, row }], head -1 where a layer's heads are averaged first.
function candidates(gathered, layers, { keep }) {
  if (keep === "layers") return layers.map((layer) => ({ layer, head: -1, row: meanHeads(gathered, [layer]) }));
  return lanesOf(gathered, layers).map(([layer, head]) => ({ layer, head, row: lane(gathered, layer, head) }));
}

function largestIn(row, ranges) {
  let top = 0;
  for (const [start, stop] of ranges) for (let k = start; k < stop; k++) top = Math.max(top, row[k]);
  return top;
}

// A score for every candidate, from one query's rows.
export function scores(gathered, layers, imageRanges, settings) {
  const score = settings.ranked_by === "largest image weight" ? largestIn : shareOf;
  return candidates(gathered, layers, settings).map(({ row }) => score(row, imageRanges));
}

// The same, averaged over the rows of several queries.
export function meanScores(queries, layers, imageRanges, settings) {
  const each = queries.map((gathered) => scores(gathered, layers, imageRanges, settings));
  return each[0].map((_, candidate) => each.reduce((sum, found) => sum + found[candidate], 0) / each.length);
}

// How many there are to choose k from.
export function available(layers, heads, { keep }) {
  return keep === "heads of each layer" ? heads : keep === "layers" ? layers : layers * heads;
}

// Top-k fusion. `settings`: { k, keep, ranked_by, fuse } named as in TopK of analysis/attention.py; `ranking`: the
// candidates' scores, from this query or from all of them. Equal scores go to the lower layer, then the lower head.
export function topK(gathered, layers, imageRanges, settings, ranking = scores(gathered, layers, imageRanges, settings)) {
  const all = candidates(gathered, layers, settings);
  if (settings.keep === "entries") return { row: fuseLargest(all, settings), chosen: [] };
  const ordered = all.map((_, index) => index).sort((a, b) => ranking[b] - ranking[a] || a - b);
  const kept = settings.keep === "heads of each layer"
    ? layers.flatMap((layer) => ordered.filter((index) => all[index].layer === layer).slice(0, settings.k))
    : ordered.slice(0, settings.k);
  const chosen = kept.map((index) => all[index]);
  return { row: fuse(chosen.map(({ row }) => row), settings.fuse), chosen: chosen.map(({ layer, head }) => ({ layer, head })) };
}

function fuse(rows, how) {
  const out = new Float32Array(rows[0].length);
  for (const row of rows) {
    for (let k = 0; k < out.length; k++) out[k] = how === "max" ? Math.max(out[k], row[k]) : out[k] + row[k] / rows.length;
  }
  return out;
}

// The k largest weights of every entry over all heads, fused.
function fuseLargest(all, settings) {
  return Float32Array.from(all[0].row, (_, position) => {
    const best = all.map(({ row }) => row[position]).sort((a, b) => b - a).slice(0, settings.k);
    return settings.fuse === "max" ? best[0] : best.reduce((sum, value) => sum + value, 0) / best.length;
  });
}

export function imageShares(gathered, imageRanges) {
  const out = new Float32Array(gathered.layers * gathered.heads);
  for (let i = 0; i < out.length; i++) {
    const row = gathered.rows.subarray(i * gathered.positions, (i + 1) * gathered.positions);
    out[i] = shareOf(row, imageRanges);
  }
  return out;
}

// Attention rollout (Abnar and Zuidema 2020): heads averaged, half the identity added, layers multiplied from the top.
// `rowOf(layer, position)` gives the row averaged over heads; every position that attention reaches must have one. Half
// precision sums to one only nearly, so every row is divided by its sum.
export function rollout(rowOf, layers, position, positions) {
  let flow = new Float32Array(positions);
  flow[position] = 1;
  for (let layer = layers - 1; layer >= 0; layer--) {
    const next = new Float32Array(positions);
    for (let q = 0; q < positions; q++) {
      if (flow[q] === 0) continue;
      const row = rowOf(layer, q);
      const share = 0.5 * flow[q] / shareOf(row, [[0, positions]]);
      next[q] += 0.5 * flow[q];
      for (let k = 0; k < positions; k++) next[k] += share * row[k];
    }
    flow = next;
  }
  return flow;
}
