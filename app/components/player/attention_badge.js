// Whether an attention map was found to be faithful. What is tested is the mean over all layers, heads and action tokens.

import { layerRange } from "./attention_view.js";

export function isTestedMean(bundle, view) {
  return view.reduce === "mean" && view.query === "action" && !view.stream && layerRange(bundle, view).length === bundle.captured.length;
}

// { state, text, title }; `tested`: { state, why } of the mean map, as the server tells it.
export function attentionBadge(tested, bundle, view) {
  if (!tested) return null;
  if (isTestedMean(bundle, view)) return badge(tested.state, tested.why);
  const mean = `mean over all layers, heads and action tokens: ${tested.state}`;
  return badge("not tested", `This reduction was not tested by itself (${mean}). ${tested.why}`);
}

function badge(state, title) {
  return { state, text: state === "not tested" ? "faithfulness not tested" : `faithfulness ${state}`, title };
}
