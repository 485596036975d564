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

// Heads of `layers` ordered by how much of their row falls on the image; ties go to the lower layer and head.
export function rankHeads(gathered, layers, imageRanges) {
  return lanesOf(gathered, layers)
    .map(([layer, head]) => ({ layer, head, share: shareOf(lane(gathered, layer, head), imageRanges) }))
    .sort((a, b) => b.share - a.share || a.layer - b.layer || a.head - b.head);
}

export function topK(gathered, layers, imageRanges, k) {
  const chosen = rankHeads(gathered, layers, imageRanges).slice(0, k);
  return { row: meanOf(gathered, chosen.map(({ layer, head }) => [layer, head])), chosen };
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
// `rowOf(layer, position)` gives the row averaged over heads; every position up to `position` must have one. Half
// precision sums to one only nearly, so every row is divided by its sum.
export function rollout(rowOf, layers, position, positions) {
  let flow = new Float32Array(positions);
  flow[position] = 1;
  for (let layer = layers - 1; layer >= 0; layer--) {
    const next = new Float32Array(positions);
    for (let q = 0; q <= position; q++) {
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
