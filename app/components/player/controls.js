// How the rows are reduced and drawn.

import { AttributionControls } from "./attribution_controls.js";
import { SEQUENTIAL } from "./colormaps.js";
import { choice, el, segmented, setText, slider, toggle } from "./dom.js";
import { HeadMatrix } from "./head_matrix.js";
import { StreamChoice } from "./stream_choice.js";
import { TopKSettings } from "./top_k_settings.js";

const REDUCTIONS = [
  ["head", "One head", "The row of one layer and one head"],
  ["mean", "Mean", "Mean over the heads of the chosen layers"],
  ["max", "Max", "Largest value over the heads of the chosen layers"],
  ["topk", "Top-k", "The k heads of the chosen layers that look most at the image, fused"],
  ["rollout", "Rollout", "Attention rolled out through all layers"],
];
const SCALES = [["frame", "This frame", "Full colour is the largest patch of this frame"],
  ["episode", "Episode", "Full colour is the largest patch of the whole episode: frames can be compared"]];

export class Controls {
  constructor({ update, cameras, onHead, onLayer, onAllRows, onMethods, onExplain, onCancelExplain }) {
    this.attribution = new AttributionControls({ update, onOpen: onMethods, onStart: onExplain, onCancel: onCancelExplain });
    this.reduce = segmented("Reduction", REDUCTIONS, (reduce) => update({ reduce, method: "", settings: "" }));
    this.scale = segmented("Scale", SCALES, (scale) => update({ scale }));
    this.matrix = new HeadMatrix({ onHead, onLayer });
    this.topK = new TopKSettings({ update, cameras });
    this.opacity = slider("Opacity", { min: 0, max: 1, step: 0.05 }, (v) => `${Math.round(v * 100)} %`, (opacity) => update({ opacity }));
    this.map = choice("Colours", SEQUENTIAL.map((name) => [name, name]), (map) => update({ map }));
    this.smooth = toggle("Smooth", "Interpolate between patch centres; off shows the patches themselves", (on) => update({ smooth: Number(on) }));
    this.objects = toggle("Objects", "Outline what the data set says is in view (ground truth)", (on) => update({ objects: Number(on) }));
    this.marks = toggle("Marks", "Outline the places that the policy wrote about", (on) => update({ marks: Number(on) }));
    this.depth = toggle("Depth", "Show how far away the policy takes things to be, in place of the attention", (on) => update({ depth: Number(on) }));
    this.tile = choice("Part", [], (tile) => update({ tile: Number(tile), patch: -1 }));
    this.tiles = "";
    this.streams = new StreamChoice({ update });
    this.camera = choice("Camera", cameras.map((name) => [name, name]), (camera) => update({ camera, patch: -1, tile: -1 }));
    this.camera.node.hidden = cameras.length < 2;
    this.why = el("span");
    this.capture = el("button", { type: "button", class: "capture-all", onclick: onAllRows });
    this.offer = el("div", { class: "offer", role: "status", hidden: true }, this.why, this.capture);
    this.matrixSide = el("div", { class: "matrix-side" }, el("h4", { text: "Heads, stronger: more on the image" }), el("div", { class: "matrix-wrap" }, this.matrix.node));
    this.node = el("section", { class: "controls", "aria-label": "Attention settings" },
      this.streams.node, el("div", { class: "row" }, this.reduce.node), this.topK.node, this.offer, this.attribution.node,
      this.matrixSide,
      el("div", { class: "settings" }, this.opacity.node,
        el("div", { class: "row" }, el("span", { class: "label", text: "Scale" }), this.scale.node),
        el("div", { class: "row" }, this.map.node, this.smooth.node, this.objects.node, this.marks.node, this.depth.node, this.tile.node, this.camera.node)));
  }

  show({ view, bundle, most, images, matrix, rolloutOffer, hasObjects, hasMarks, hasDepth, tiles, attribution }) {
    this.attribution.node.hidden = !attribution;
    if (attribution) this.attribution.show({ view, ...attribution });
    this.streams.show(bundle);
    this.reduce.select(view.method ? "" : view.reduce);
    this.offer.hidden = !rolloutOffer;
    if (rolloutOffer) {
      setText(this.why, rolloutOffer.why);
      setText(this.capture, rolloutOffer.action);
      this.capture.hidden = !rolloutOffer.action;
    }
    this.scale.select(view.scale);
    this.topK.show({ view, most, images });
    // heads are chosen for attention alone; a method that looks at some has them among its settings
    this.matrixSide.hidden = Boolean(view.method);
    if (view.method) this.topK.node.hidden = true;
    this.opacity.set(view.opacity);
    this.map.set(view.map);
    this.smooth.set(Boolean(view.smooth));
    this.objects.set(Boolean(view.objects));
    this.objects.node.hidden = !hasObjects;
    this.marks.set(Boolean(view.marks));
    this.marks.node.hidden = !hasMarks;
    this.depth.set(Boolean(view.depth));
    this.depth.node.hidden = !hasDepth;
    this.showTiles(tiles, view.tile);
    this.camera.set(view.camera);
    if (matrix) this.matrix.show(matrix);
  }

  // A camera that is read in several runs of tokens: all of them, or one alone.
  showTiles(tiles, chosen) {
    this.tile.node.hidden = tiles.length < 2;
    const key = tiles.map(({ offset, grid }) => `${offset}:${grid.box}`).join(" ");
    if (tiles.length > 1 && key !== this.tiles) {
      const label = ({ grid: { rows, columns, box } }) => `${rows} × ${columns} at ${box.slice(0, 2).map(Math.round).join(", ")}`;
      this.tile.select.replaceChildren(...[["-1", `all ${tiles.length}`], ...tiles.map((part) => [String(part.offset), label(part)])]
        .map(([value, text]) => el("option", { value, text })));
      this.tiles = key;
    }
    this.tile.set(tiles.some(({ offset }) => offset === chosen) ? String(chosen) : "-1");
  }
}
