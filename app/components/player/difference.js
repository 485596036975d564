// Second checkpoint's attention minus the first's, patch by patch, on a grey frame and a scale symmetric about zero.

import { number } from "./attribution_view.js";
import { el } from "./dom.js";
import { describeQuery } from "./query.js";
import { describeReduction, percent } from "./attention_view.js";
import { largest, overlayPicture, partValues, placeOf } from "./overlay.js";
import { Stage } from "./stage.js";

export class Difference {
  constructor(player) {
    this.player = player;
    this.stage = new Stage({
      title: `${player.panes[1].name} − ${player.panes[0].name}`, onPick: (patch) => player.pickPatch(patch), onHover: () => {},
      describe: (patch) => this.describe(patch),
    });
    this.node = el("div", { class: "pane" }, this.stage.node);
  }

  // { parts, values: [Float32Array a part] } of the shown camera, or why there is nothing to compare.
  values() {
    const [a, b] = this.player.panes.map((pane) => ({ ...pane.image(), ...rowOf(pane), pane }));
    const missing = [a, b].find(({ row, parts }) => !row || !parts.length);
    if (missing) return { parts: [], why: missing.unread || missing.why || `“${missing.pane.name}” has not been run at this step yet.` };
    if (shape(a.parts) !== shape(b.parts)) return { parts: [], why: `The two checkpoints cut the frame differently (${shape(a.parts)} and ${shape(b.parts)} patches).` };
    const values = a.parts.map((part, i) => {
      const second = partValues(b.parts[i], b.row);
      return partValues(part, a.row).map((value, k) => second[k] - value);
    });
    return { parts: a.parts, values, largest: Math.max(...values.map(largest)) };
  }

  scale(top) {
    return this.player.view.scale === "frame" ? top : Math.max(...this.player.panes.map((pane) => pane.top ?? 0), top);
  }

  drawStage() {
    const { view, frames } = this.player;
    const frame = frames.get(view.camera, view.step);
    if (!frame) return;
    this.current = this.values();
    const { parts, values } = this.current;
    this.top = values ? this.scale(this.current.largest) : 0;
    const overlays = (values ?? []).map((each, i) => {
      const { rows, columns, box } = parts[i].grid;
      return { box, picture: overlayPicture(each, rows, columns, { scale: this.top, map: "difference", smooth: view.smooth, signed: true }) };
    });
    this.stage.show({ frame, width: frame.width, height: frame.height, overlays, opacity: view.opacity, smooth: view.smooth, parts,
      patch: view.patch, boxes: view.objects ? this.player.boxes() : null, marks: null, grey: true });
  }

  drawDetails() {
    const { view, panes } = this.player;
    const { values, why } = this.current ?? {};
    const bundle = panes[1].bundle();
    const same = values && this.current.largest === 0;
    const map = view.method ? panes[1].attention().map : null;
    const told = map ? number : percent;
    const what = values && map ? `${map.title}, ${panes[1].name} minus ${panes[0].name} · query: ${describeQuery(bundle, view.query)}` : values ? `share of the row, ${panes[1].name} minus ${panes[0].name} · ${describeReduction(bundle, view)} · query: ${describeQuery(bundle, view.query)}` : "";
    this.stage.explain({
      caption: same ? `No difference at all: ${what}` : what, note: values ? "" : why ?? "", label: `attention difference: ${what || why}`,
      legend: values ? { map: "difference", low: `−${told(this.top)}`, high: `+${told(this.top)}` } : null,
    });
  }

  describe(patch) {
    const { values, parts } = this.current ?? {};
    const place = values ? placeOf(parts, patch) : null;
    if (!place) return "";
    const { part, index } = place;
    const value = values[parts.indexOf(part)][index];
    const where = `patch ${index} · row ${Math.floor(index / part.grid.columns)}, column ${index % part.grid.columns}`;
    if (this.player.view.method) return `${where}\nscore ${number(value)}`;
    const points = (100 * value).toFixed(2).replace("-", "−");
    return `${where}\n${value > 0 ? "+" : ""}${points} percentage points of the row`;
  }

  close() {
    this.stage.close();
  }
}

function rowOf(pane) {
  const { row, why } = pane.attention();
  return { row, unread: why };
}

// Rows and columns of every run of patches, in words.
function shape(parts) {
  return parts.map(({ grid }) => `${grid.rows} × ${grid.columns}`).join(" + ");
}
