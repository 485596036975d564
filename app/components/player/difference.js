// Second checkpoint's attention minus the first's, patch by patch, on a grey frame and a scale symmetric about zero.

import { el } from "./dom.js";
import { describeQuery } from "./query.js";
import { describeReduction, percent } from "./attention_view.js";
import { largest, overlayPicture, patchValues } from "./overlay.js";
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

  values() {
    const [a, b] = this.player.panes.map((pane) => ({ span: pane.span(), row: pane.attention().row, why: pane.attention().why, pane }));
    const missing = [a, b].find(({ row, span }) => !row || !span);
    if (missing) return { why: missing.why || `“${missing.pane.name}” has not been run at this step yet.` };
    if (a.span.grid.rows !== b.span.grid.rows || a.span.grid.columns !== b.span.grid.columns) {
      return { why: `The two checkpoints cut the frame differently (${a.span.grid.rows} × ${a.span.grid.columns} and ${b.span.grid.rows} × ${b.span.grid.columns} patches).` };
    }
    const second = patchValues(b.span, b.row);
    return { span: a.span, values: patchValues(a.span, a.row).map((value, i) => second[i] - value) };
  }

  scale(values) {
    const { view } = this.player;
    return view.scale === "frame" ? largest(values) : Math.max(...this.player.panes.map((pane) => pane.top ?? 0), largest(values));
  }

  drawStage() {
    const { view, frames } = this.player;
    const frame = frames.get(view.camera, view.step);
    if (!frame) return;
    this.current = this.values();
    const { values, span } = this.current;
    const scale = values ? this.scale(values) : 0;
    const overlay = values
      ? overlayPicture(values, span.grid.rows, span.grid.columns, { scale, map: "difference", smooth: view.smooth, signed: true }) : null;
    this.top = scale;
    this.stage.show({ frame, width: frame.width, height: frame.height, overlay, opacity: view.opacity, smooth: view.smooth, span,
      patch: view.patch, boxes: view.objects ? this.player.boxes() : null, grey: true });
  }

  drawDetails() {
    const { view, panes } = this.player;
    const { values, why } = this.current ?? {};
    const bundle = panes[1].bundle();
    const same = values && largest(values) === 0;
    const what = values ? `share of the row, ${panes[1].name} minus ${panes[0].name} · ${describeReduction(bundle, view)} · query: ${describeQuery(bundle, view.query)}` : "";
    this.stage.explain({
      caption: same ? `No difference at all: ${what}` : what, note: values ? "" : why ?? "", label: `attention difference: ${what || why}`,
      legend: values ? { map: "difference", low: `−${percent(this.top)}`, high: `+${percent(this.top)}` } : null,
    });
  }

  describe(patch) {
    const { values, span } = this.current ?? {};
    if (!values) return "";
    const points = (100 * values[patch]).toFixed(2).replace("-", "−");
    return `patch ${patch} · row ${Math.floor(patch / span.grid.columns)}, column ${patch % span.grid.columns}\n${values[patch] > 0 ? "+" : ""}${points} percentage points of the row`;
  }

  close() {
    this.stage.close();
  }
}
