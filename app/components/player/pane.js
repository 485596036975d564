// One checkpoint on the episode: its stage, token strips and run status, all drawn from the shared view.

import { attentionRow, caption, looksAt, percent, reductionKey, spanShares, wantedLayers } from "./attention_view.js";
import { el } from "./dom.js";
import { imageSpan, largest, overlayPicture, patchValues } from "./overlay.js";
import { ShareBar } from "./share_bar.js";
import { Stage } from "./stage.js";
import { TokenStrips } from "./token_strips.js";
import { RunStatus } from "./run_status.js";
import { Run } from "./source.js";

export class Pane {
  constructor(player, { checkpoint, name, action_stats: stats }, status, index) {
    this.player = player;
    this.name = name;
    this.index = index;
    this.automatic = false;
    const { config: { base, dataset }, episode, view: { rows } } = player;
    this.run = checkpoint ? new Run(base, dataset, episode, { checkpoint, stats, rows, status, wanted: (count) => wantedLayers(player.view, count) }, () => this.changed()) : null;
    this.stage = new Stage({
      title: player.compare ? name : "", onPick: (patch) => player.pickPatch(patch), onHover: () => {}, describe: (patch) => this.describe(patch),
    });
    this.strips = new TokenStrips({ onQuery: (query) => player.ask(query) });
    this.shares = new ShareBar();
    this.status = new RunStatus({
      onStart: () => this.run.command("start", player.view.step), onStop: () => this.run.command("stop", player.view.step),
    });
    this.waiting = el("p", { class: "quiet waiting" });
    this.tops = { key: "", byStep: new Map() };
  }

  async open() {
    if (!this.run) return;
    await this.run.poll();
    if (this.run.status.automatic && !this.automatic) {
      this.automatic = true;
      this.run.command("start", this.player.view.step);
    }
  }

  changed() {
    this.player.prefetchSoon();
    this.player.render();
  }

  bundle() {
    return this.run?.bundle(this.player.view.step);
  }

  attention() {
    const bundle = this.bundle();
    return bundle ? attentionRow(bundle, this.player.view) : { row: null, why: "", heads: [], tokens: [] };
  }

  span() {
    const bundle = this.bundle();
    return bundle ? imageSpan(bundle, this.player.view.camera) : null;
  }

  // Largest patch value of this frame, or of every captured step that has been fetched so far.
  scale(values) {
    const { view } = this.player;
    if (view.scale === "frame") return largest(values);
    const key = `${reductionKey(view)}|${view.query}|${view.camera}`;
    if (this.tops.key !== key) this.tops = { key, byStep: new Map(), top: 0 };
    for (const [step, { value: bundle }] of this.run.bundles.entries) {
      if (this.tops.byStep.has(step)) continue;
      const span = imageSpan(bundle, view.camera);
      const { row } = span ? attentionRow(bundle, view) : {};
      if (!row) continue;
      const top = largest(patchValues(span, row));
      this.tops.byStep.set(step, top);
      this.tops.top = Math.max(this.tops.top, top);
    }
    return this.tops.top;
  }

  drawStage() {
    const { view, frames } = this.player;
    const frame = frames.get(view.camera, view.step);
    if (!frame) return false;
    const { row } = this.attention();
    const span = row ? this.span() : null;
    const values = span ? patchValues(span, row) : null;
    const top = values ? this.scale(values) : 0;
    this.top = top;
    this.stage.show({
      frame, width: frame.width, height: frame.height, overlay: values ? this.picture(values, span, top) : null, opacity: view.opacity,
      smooth: view.smooth, span: span ?? this.span(), patch: view.patch, boxes: view.objects ? this.player.boxes() : null,
    });
    return true;
  }

  picture(values, span, scale) {
    const { map, smooth } = this.player.view;
    const same = this.drawn && this.drawn.buffer === values.buffer && this.drawn.offset === values.byteOffset
      && this.drawn.key === `${scale}|${map}|${smooth}`;
    if (!same) {
      const picture = overlayPicture(values, span.grid.rows, span.grid.columns, { scale, map, smooth, signed: false });
      this.drawn = { buffer: values.buffer, offset: values.byteOffset, key: `${scale}|${map}|${smooth}`, picture };
    }
    return this.drawn.picture;
  }

  drawDetails() {
    const { view } = this.player;
    const bundle = this.bundle();
    const attention = this.attention();
    const has = Boolean(attention.row);
    this.stage.explain({
      caption: has ? caption(bundle, view, this.top) : "", note: bundle && !has ? attention.why : "",
      legend: has ? { map: view.map, low: "0", high: percent(this.top) } : null,
      label: `${this.player.episode.instruction}, step ${view.step}, ${has ? caption(bundle, view, this.top) : "no attention"}`,
    });
    if (this.run) this.status.show(this.run.status);
    else this.status.node.hidden = true;
    this.strips.show({
      bundle, row: attention.row, query: view.query, words: this.player.differing(this.index), reverse: this.reverse(bundle),
    });
    this.waiting.hidden = Boolean(bundle);
    this.waiting.textContent = this.run ? this.whyEmpty() : "Choose a checkpoint in the side bar to see what it attends to, says and does.";
    this.shares.show(has ? spanShares(bundle, attention.row) : []);
  }

  whyEmpty() {
    if (this.run.captured(this.player.view.step)) return "Fetching this step…";
    return this.run.status.state === "unknown" ? "" : "This step has not been run with this checkpoint yet.";
  }

  reverse(bundle) {
    const { view } = this.player;
    const span = this.span();
    if (view.patch < 0 || !bundle?.weights || !span || view.patch >= span.stop - span.start) return null;
    const key = `${view.step}|${view.patch}|${reductionKey(view)}`;
    if (this.reversed?.key !== key || this.reversed.bundle !== bundle) {
      this.reversed = { key, bundle, value: looksAt(bundle, view, span.start + view.patch) };
    }
    return this.reversed.value;
  }

  describe(patch) {
    const bundle = this.bundle();
    const span = this.span();
    if (!bundle || !span) return "";
    const { row } = this.attention();
    const { columns } = span.grid;
    const lines = [`patch ${patch} · row ${Math.floor(patch / columns)}, column ${patch % columns}`];
    if (row) {
      const values = patchValues(span, row);
      const image = values.reduce((sum, value) => sum + value, 0);
      lines.push(`${percent(values[patch])} of the row · ${percent(image ? values[patch] / image : 0)} of image attention`);
    }
    lines.push(`looked at most by: ${this.lookers(bundle, span.start + patch)}`);
    return lines.join("\n");
  }

  lookers(bundle, position) {
    const looks = [...looksAt(bundle, this.player.view, position)].sort((a, b) => b[1] - a[1]).slice(0, 4);
    return looks.map(([token, value]) => `${token.part === "action" ? token.name : token.text.trim()} ${percent(value)}`).join(", ");
  }

  close() {
    this.run?.close();
    this.stage.close();
  }
}
