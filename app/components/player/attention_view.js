// From a captured step and the viewer's choices to one row over the sequence, with what it took said in words.

import { gatherRows } from "./bundle.js";
import { available, imageShares, maxHeads, meanHeads, meanScores, oneHead, shareOf, topK } from "./reductions.js";
import { imageParts, placeOf } from "./overlay.js";
import { rolledOut, whyNoRollout } from "./rollout_view.js";
import { describeQuery, isVision, resolveQuery } from "./query.js";
import { describeStream } from "./stream_choice.js";

// Of one camera, or of all images.
export function imageRanges(bundle, camera = "") {
  return bundle.spans.filter((span) => span.part === "image" && (!camera || (span.grid?.camera ?? span.name) === camera)).map(({ start, stop }) => [start, stop]);
}

// Places among the captured layers that [view.from, view.to] names; -1 means the last one.
export function layerRange(bundle, view) {
  return rangeOf(bundle.captured.length, view);
}

function rangeOf(count, view) {
  const last = count - 1;
  const to = view.to < 0 ? last : Math.min(last, view.to);
  const from = Math.min(Math.max(0, view.from), to);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

// Places of the layers that the view looks at, of `count` captured ones; null: all of them.
export function wantedLayers(view, count) {
  if (view.reduce === "rollout") return null;
  return view.reduce === "head" ? [layerOf(count, view)] : rangeOf(count, view);
}

function layerOf(count, view) {
  return Math.min(count - 1, Math.max(0, view.layer));
}

// Where those layers stand in the rows that are here, or null while one is not.
function layersHere(bundle, view) {
  const wanted = wantedLayers(view, bundle.captured.length) ?? bundle.captured.map((_, index) => index);
  const here = wanted.map((index) => bundle.local.get(index));
  return here.includes(undefined) ? null : here;
}

// Everything of the view that the reduction depends on, but for the query.
export function reductionKey(view) {
  return [view.reduce, view.layer, view.head, view.from, view.to, ...TOP_K.map((name) => view[name])].join("|");
}

const TOP_K = ["k", "keep", "ranked_by", "ranked_over", "fuse", "ranked_camera"];
const rankings = new WeakMap();

// Candidates' scores over all captured queries where the view ranks so; else every query ranks for itself.
function ranking(bundle, view, range, ranges) {
  if (view.ranked_over !== "all queries") return undefined;
  const key = reductionKey(view);
  const held = rankings.get(bundle);
  if (held?.key === key) return held.value;
  const value = meanScores(bundle.queries.map((_, query) => gatherRows(bundle, [query])), range, ranges, view);
  rankings.set(bundle, { key, value });
  return value;
}

function fused(bundle, view, rows, range) {
  const ranges = imageRanges(bundle, view.ranked_camera);
  return topK(rows, range, ranges, view, ranking(bundle, view, range, ranges));
}

const gatheredCache = new WeakMap();

function gathered(bundle, tokens) {
  const key = tokens.map(({ query }) => query).join(",");
  const held = gatheredCache.get(bundle);
  if (held && held.key === key) return held.value;
  const value = gatherRows(bundle, tokens.map(({ query }) => query));
  gatheredCache.set(bundle, { key, value });
  return value;
}

// The sequence position of the picked patch, where a vision tower is asked about it; else -1.
export function askedPatch(bundle, view) {
  if (!bundle || !isVision(bundle) || view.patch < 0) return -1;
  return placeOf(imageParts(bundle, view.camera).parts, view.patch)?.position ?? -1;
}

const rowCache = new WeakMap();

// { row, why, heads, shares, tokens }: the row over the sequence [K], or why there is none.
export function attentionRow(bundle, view) {
  const key = `${reductionKey(view)}|${view.query}|${askedPatch(bundle, view)}`;
  const held = rowCache.get(bundle);
  if (held && held.key === key) return held.value;
  const value = computeRow(bundle, view);
  rowCache.set(bundle, { key, value });
  return value;
}

function computeRow(bundle, view) {
  if (!bundle.weights) return { row: null, why: "No attention was captured at this step.", heads: [], tokens: [] };
  const { tokens, why } = resolveQuery(bundle, view.query, askedPatch(bundle, view));
  if (!tokens.length) return { row: null, why, heads: [], tokens };
  const rows = gathered(bundle, tokens);
  const ranges = imageRanges(bundle);
  const shares = knownShares(bundle, imageShares(rows, ranges));
  const here = layersHere(bundle, view);
  if (!here) return { row: null, why: "Fetching the rows of these layers…", heads: [], shares, tokens };
  const done = (row, heads) => ({ row, why: "", heads, shares, tokens, imageShare: shareOf(row, ranges) });
  if (view.reduce === "head") {
    const head = Math.min(rows.heads - 1, Math.max(0, view.head));
    return done(oneHead(rows, here[0], head), [{ layer: layerOf(bundle.captured.length, view), head }]);
  }
  if (view.reduce === "mean") return done(meanHeads(rows, here), []);
  if (view.reduce === "max") return done(maxHeads(rows, here), []);
  if (view.reduce === "rollout") {
    if (whyNoRollout(bundle)) return { row: null, why: "No rollout can be made of the rows of this step.", heads: [], shares, tokens };
    return done(meanRow(tokens.map(({ query }) => rolledOut(bundle, query))), []);
  }
  const { row, chosen } = fused(bundle, view, rows, here);
  const places = [...bundle.local.keys()];
  return done(row, chosen.map(({ layer, head }) => ({ layer: places[layer], head })));
}

// Shares of all captured layers' heads; NaN for layers that are not here.
function knownShares(bundle, shares) {
  const heads = bundle.shape[1];
  const out = new Float32Array(bundle.captured.length * heads).fill(NaN);
  for (const [place, index] of bundle.local) out.set(shares.subarray(index * heads, (index + 1) * heads), place * heads);
  return out;
}

function meanRow(rows) {
  const out = new Float32Array(rows[0].length);
  for (const row of rows) for (let k = 0; k < out.length; k++) out[k] += row[k] / rows.length;
  return out;
}

// How much every generated token looks at sequence position `position`, under the same reduction: Map token -> weight.
export function looksAt(bundle, view, position) {
  return new Map(bundle.generated.map((token) => [token, rowOf(bundle, view, token)?.[position] ?? 0]));
}

function rowOf(bundle, view, token) {
  const here = layersHere(bundle, view);
  if (!here) return null;
  if (view.reduce === "rollout") return whyNoRollout(bundle) ? null : rolledOut(bundle, token.query);
  const rows = gatherRows(bundle, [token.query]);
  if (view.reduce === "head") return oneHead(rows, here[0], Math.min(rows.heads - 1, Math.max(0, view.head)));
  if (view.reduce === "mean") return meanHeads(rows, here);
  if (view.reduce === "max") return maxHeads(rows, here);
  return fused(bundle, view, rows, here).row;
}

export function describeReduction(bundle, view) {
  const number = (index) => bundle?.captured[index] ?? index;
  const range = bundle ? layerRange(bundle, view) : [];
  const layers = range.length === 1 ? `layer ${number(range[0])}`
    : `layers ${number(range[0])}–${number(range[range.length - 1])}`;
  if (view.reduce === "head") return `layer ${number(view.layer)}, head ${view.head}`;
  if (view.reduce === "mean") return `mean of all heads, ${layers}`;
  if (view.reduce === "max") return `maximum of all heads, ${layers}`;
  if (view.reduce === "rollout") return "rollout through all layers";
  return describeTopK(view, layers, bundle ? available(range.length, bundle.shape[1], view) : view.k);
}

// Every choice in words: a picture without them could not be made again.
function describeTopK(view, layers, most) {
  const k = Math.min(view.k, most);
  if (view.keep === "entries") return `top-k fusion: ${view.fuse} of the ${k} largest weights of every entry, all heads of ${layers}`;
  const kept = view.keep === "layers" ? `${k} of ${layers}, heads averaged`
    : view.keep === "heads" ? `${k} heads of ${layers}` : `${k} heads of each layer, ${layers}`;
  const camera = view.ranked_camera ? ` in ${view.ranked_camera}` : "";
  const over = view.ranked_over === "query" ? "of this query" : "over all queries";
  return `top-k fusion: ${view.fuse} of ${kept}, ranked by ${view.ranked_by}${camera} ${over}`;
}

export function caption(bundle, view, scale) {
  const scaling = view.scale === "frame" ? "scaled to this frame" : "one scale for the episode";
  const top = scale > 0 ? `, full colour = ${sumsToOne(view) ? `${percent(scale)} of the row` : `a weight of ${percent(scale)}`}` : "";
  const query = describeQuery(bundle, view.query, askedPatch(bundle, view));
  return `${describeStream(bundle)}${describeReduction(bundle, view)} · query: ${query} · ${scaling}${top}`;
}

// Whether the reduction gives a row of shares; a maximum, or the largest weights of every entry, sum to more than one.
function sumsToOne({ reduce, keep, fuse }) {
  return reduce !== "max" && (reduce !== "topk" || (fuse === "mean" && keep !== "entries"));
}

export function percent(value) {
  if (value === 0) return "0 %";
  if (value < 0.001) return "< 0.1 %";
  return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
}

const ORDER = ["image", "instruction", "state", "rationale", "text", "action", "special"];

// Shares of the row's sum per kind of token, the sink apart, images by camera where there are several:
// [{ part, camera, value }], summing to one.
export function spanShares(bundle, row) {
  const several = new Set(bundle.spans.filter(({ part }) => part === "image").map(cameraOf)).size > 1;
  const plain = bundle.spans.every(({ part, name }) => part !== "rationale" || name === "text");
  const sums = new Map();
  for (const span of bundle.spans) {
    const part = span.part === "prompt" ? "special" : span.part === "rationale" && plain ? "text" : span.part;
    const camera = several && part === "image" ? cameraOf(span) : "";
    const key = `${part} ${camera}`;
    const held = sums.get(key) ?? { part, camera, value: 0 };
    sums.set(key, { ...held, value: held.value + shareOf(row, [[span.start, span.stop]]) });
  }
  const total = [...sums.values()].reduce((sum, { value }) => sum + value, 0) || 1;
  return [...sums.values()].sort((a, b) => ORDER.indexOf(a.part) - ORDER.indexOf(b.part)).map((entry) => ({ ...entry, value: entry.value / total }));
}

function cameraOf(span) {
  return span.grid?.camera ?? span.name;
}
