// One checkpoint on the episode: its stage, token strips and run status, all drawn from the shared view.

import { attentionRow, caption, looksAt, percent, reductionKey, askedPatch, spanShares, wantedLayers } from "./attention_view.js";
import { PaneAttribution, Methods } from "./attribution.js";
import { describeMap, describeScore, mapLegend, number, signedNumber } from "./attribution_view.js";
import { CameraStrip } from "./camera_strip.js";
import { DepthView } from "./depth_view.js";
import { el } from "./dom.js";
import { MapTests, askedMap } from "./map_tests.js";
import { camerasRead, imageParts, largestOnImages, overlayPicture, partValues, placeOf } from "./overlay.js";
import { describeQuery, isVision } from "./query.js";
import { Run } from "./run.js";
import { RunStatus } from "./run_status.js";
import { ShareBar } from "./share_bar.js";
import { Stage } from "./stage.js";
import { TokenStrips } from "./token_strips.js";
import { WhatIfLink } from "./what_if_link.js";

export class Pane {
  constructor(player, pane, status, index) {
    this.player = player;
    this.name = pane.name;
    this.index = index;
    this.automatic = false;
    this.toExplain = null;
    this.run = pane.checkpoint ? this.runOf(pane, status) : null;
    this.explain = pane.checkpoint ? this.attributionOf(pane) : null;
    this.methods = pane.checkpoint ? new Methods(this.explain.about, () => player.render()) : null;
    this.tests = pane.checkpoint ? new MapTests(this.explain.about, () => player.render()) : null;
    this.stage = new Stage({
      title: player.compare ? pane.name : "", onPick: (patch) => player.pickPatch(patch), onHover: () => {}, describe: (patch) => this.describe(patch),
    });
    this.cameras = new CameraStrip({ onCamera: (camera) => player.update({ camera, patch: -1, tile: -1 }) });
    this.depth = new DepthView(this);
    this.strips = new TokenStrips({ onQuery: (query) => player.ask(query) });
    this.shares = new ShareBar();
    this.whatIf = new WhatIfLink(player, pane);
    this.status = new RunStatus({
      onStart: () => this.run.command("start", player.view.step), onStop: () => this.run.command("stop", player.view.step),
    });
    this.note = el("p", { class: "quiet camera-note", hidden: true });
    this.waiting = el("p", { class: "quiet waiting" });
    this.tops = { key: "", byStep: new Map() };
    this.pictures = new Map();
  }

  runOf(pane, status) {
    const { player } = this;
    const { config: { base, dataset }, episode } = player;
    const known = episode.cameras.map(({ name }) => name);
    const about = {
      length: episode.length, known, rows: player.view.rows, status,
      wanted: (count) => wantedLayers(player.view, count), chosen: () => player.view,
    };
    return new Run({ base, dataset, episode: episode.id }, pane, about, () => this.changed());
  }

  attributionOf(pane) {
    const { config: { base, dataset }, episode } = this.player;
    const { checkpoint, action_stats: stats, family, cameras } = pane;
    const listed = Array.isArray(cameras) ? cameras : cameras ? String(cameras).split(",").map(decodeURIComponent) : [];
    const asked = { dataset, episode: episode.id, checkpoint, ...(stats ? { action_stats: stats } : {}), ...(family ? { family } : {}), ...(listed.length ? { cameras: listed } : {}) };
    return new PaneAttribution({ base, asked, dimensions: () => this.run.status.actions?.names ?? [] }, () => this.player.render());
  }

  async open() {
    if (!this.run) return;
    await this.run.poll();
    if (this.run.status.automatic && !this.automatic) {
      this.automatic = true;
      this.run.command("start", this.player.view.step);
    }
  }

  // Asked for before the step has been predicted here, it waits for the prediction, unless another question is asked meanwhile.
  startExplaining(all) {
    const { view } = this.player;
    const bundle = this.bundle();
    this.toExplain = bundle || !this.explain ? null : { all, question: explainedQuestion(view) };
    if (bundle) this.explain.start(bundle, view, all ? null : view.step);
  }

  // Every arrival of a step ends in a drawing, whichever way it came.
  explainWhatWaited() {
    if (this.toExplain?.question === explainedQuestion(this.player.view) && this.bundle()) this.startExplaining(this.toExplain.all);
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
    if (!bundle) return { row: null, why: "", heads: [], tokens: [] };
    const attention = attentionRow(bundle, this.player.view);
    return this.player.view.method ? { ...attention, heads: [], ...this.explain.row(bundle, this.player.view) } : attention;
  }

  // { parts, why } of the shown camera, or of the one tile that is chosen.
  image(camera = this.player.view.camera) {
    const bundle = this.bundle();
    if (!bundle) return { parts: [], why: "" };
    const { parts, why } = imageParts(bundle, camera);
    const one = parts.length > 1 ? parts.filter((part) => part.offset === this.player.view.tile) : [];
    return { parts: one.length ? one : parts, why };
  }

  // The episode's cameras that this model sees, as far as is known.
  camerasRead() {
    const bundle = this.bundle();
    return bundle ? camerasRead(bundle) : Object.values(this.run?.status.cameras ?? {});
  }

  // Largest patch value of this step, or of every captured step that has been fetched so far; over all cameras.
  scale(bundle, row) {
    const { view } = this.player;
    if (view.scale === "frame") return largestOnImages(bundle, row);
    if (view.method) return Math.max(...[...this.explain.maps.values()].filter((map) => map?.row.length === bundle.tokens.length).map((map) => largestOnImages(bundle, map.row)));
    const key = `${reductionKey(view)}|${view.query}|${bundle.asked}|${askedPatch(bundle, view)}`;
    if (this.tops.key !== key) this.tops = { key, byStep: new Map(), top: 0 };
    for (const [step, { value: other }] of this.run.bundles.entries) {
      if (this.tops.byStep.has(step) || other.asked !== bundle.asked) continue;
      const found = attentionRow(other, view).row;
      if (!found) continue;
      const top = largestOnImages(other, found);
      this.tops.byStep.set(step, top);
      this.tops.top = Math.max(this.tops.top, top);
    }
    return this.tops.top;
  }

  drawStage() {
    const { view, frames } = this.player;
    const frame = frames.get(view.camera, view.step);
    if (!frame) return false;
    const bundle = this.bundle();
    const { row } = this.attention();
    this.top = row ? this.scale(bundle, row) : 0;
    this.stage.show({ ...this.picture(view.camera, frame, row), parts: this.image().parts, patch: view.patch, boxes: view.objects ? this.player.boxes() : null });
    this.drawCameras(row);
    return true;
  }

  drawCameras(row) {
    const { view, frames } = this.player;
    const bundle = this.bundle();
    const read = bundle ? camerasRead(bundle) : [];
    const shares = new Map(row ? spanShares(bundle, row.map(Math.abs)).map(({ camera, value }) => [camera, percent(value)]) : []);
    this.cameras.show(read.map((camera) => ({
      camera, share: shares.get(camera) ?? "", ...this.picture(camera, frames.get(camera, view.step), row),
    })), view.camera);
  }

  // A camera's frame and what is laid over it.
  picture(camera, frame, row) {
    const { view } = this.player;
    const depth = view.depth ? this.depth.overlay(camera) : null;
    const parts = row && !depth ? this.image(camera).parts : [];
    const overlays = depth ? [depth] : parts.map((part) => ({ box: part.grid.box, picture: this.partPicture(part, row) }));
    const marks = view.marks ? (this.bundle()?.marks ?? []).filter((mark) => mark.camera === camera || !this.player.known(mark.camera)) : null;
    return { frame, width: frame?.width, height: frame?.height, overlays, opacity: view.opacity, smooth: view.smooth, marks };
  }

  // The attribution map that is drawn now, or null where attention is.
  shownMap() {
    return this.player.view.method && this.bundle() ? this.attention().map ?? null : null;
  }

  // Kept until the row, the scale or the colours change.
  partPicture(part, row) {
    const { map, smooth } = this.player.view;
    const signed = Boolean(this.shownMap()?.signed);
    const key = `${this.top}|${map}|${smooth}|${signed}`;
    const held = this.pictures.get(part.start);
    if (held?.row === row && held.key === key) return held.picture;
    const { rows, columns } = part.grid;
    const picture = overlayPicture(partValues(part, row), rows, columns, { scale: this.top, map, smooth, signed });
    this.pictures.set(part.start, { row, key, picture });
    return picture;
  }

  badge(has, map, depth) {
    if (!has || depth) return null;
    const asked = askedMap(this.bundle(), this.player.view, map);
    return asked && this.tests.badge(asked);
  }

  drawDetails() {
    const { view } = this.player;
    this.explainWhatWaited();
    const bundle = this.bundle();
    const attention = this.attention();
    const has = Boolean(attention.row);
    const image = this.image();
    const { map = null } = view.method ? attention : {};
    const said = !has ? "" : map ? describeMap(map, describeQuery(bundle, view.query)) : caption(bundle, view, this.top);
    const depth = view.depth ? this.depth.explanation(view.camera) : null;
    const legend = has && image.parts.length && map ? mapLegend(map, view.map, this.top) : has && image.parts.length ? { map: view.map, low: "0", high: percent(this.top) } : null;
    this.stage.explain({
      caption: depth?.caption ?? said, note: depth ? "" : bundle ? attention.why || image.why : "", legend: depth?.legend ?? legend, badge: this.badge(has, map, depth),
      label: `${this.player.episode.instruction}, step ${view.step}, ${depth?.caption ?? (said || "no attention")}`,
    });
    if (this.run) this.status.show(this.run.status);
    else this.status.node.hidden = true;
    this.note.hidden = !this.run?.status.note;
    this.note.textContent = this.run?.status.note ?? "";
    this.strips.show({
      bundle, row: attention.row, query: view.query, tokens: attention.tokens, words: this.player.differing(this.index), reverse: this.reverse(bundle),
      told: map ? (value) => `has the score ${map.signed ? signedNumber(value) : number(value)}` : null,
    });
    this.waiting.hidden = Boolean(bundle);
    this.waiting.textContent = this.run ? this.whyEmpty() : "Choose a checkpoint in the side bar to see what it attends to, says and does.";
    this.shares.show(has ? spanShares(bundle, attention.row.map(Math.abs)) : []);
    this.whatIf.show(bundle);
  }

  whyEmpty() {
    if (this.run.captured(this.player.view.step)) return "Fetching this step…";
    return this.run.status.state === "unknown" ? "" : "This step has not been run with this checkpoint yet.";
  }

  // Who looks at the picked patch; a vision tower is asked the other way round.
  reverse(bundle) {
    const { view } = this.player;
    const place = view.patch >= 0 ? placeOf(this.image().parts, view.patch) : null;
    if (!place || !bundle?.weights || isVision(bundle) || view.method) return null;
    const key = `${view.step}|${place.position}|${reductionKey(view)}`;
    if (this.reversed?.key !== key || this.reversed.bundle !== bundle) {
      this.reversed = { key, bundle, value: looksAt(bundle, view, place.position) };
    }
    return this.reversed.value;
  }

  describe(patch) {
    const bundle = this.bundle();
    const place = bundle ? placeOf(this.image().parts, patch) : null;
    if (!place) return "";
    const { row } = this.attention();
    const { part, index, position } = place;
    const tile = bundle.spans.filter((span) => span.part === "image" && span.grid?.camera === part.grid.camera).length > 1 ? ` of the tile at ${part.grid.box.slice(0, 2).map(Math.round).join(", ")}` : "";
    const lines = [`patch ${index} · row ${Math.floor(index / part.grid.columns)}, column ${index % part.grid.columns}${tile}`];
    const map = this.shownMap();
    if (map) lines.push(describeScore(map, position));
    else if (row) {
      const image = bundle.spans.filter((span) => span.part === "image").reduce((sum, span) => sum + partValues(span, row).reduce((a, b) => a + b, 0), 0);
      lines.push(`${percent(row[position])} of the row · ${percent(image ? row[position] / image : 0)} of image attention`);
    }
    if (!map && !isVision(bundle) && bundle.weights) lines.push(`looked at most by: ${this.lookers(bundle, position)}`);
    const depth = this.depth.at(part.grid, index);
    if (depth) lines.push(depth);
    return lines.join("\n");
  }

  lookers(bundle, position) {
    const looks = [...looksAt(bundle, this.player.view, position)].sort((a, b) => b[1] - a[1]).slice(0, 4);
    return looks.map(([token, value]) => `${token.part === "action" ? token.name : token.text.trim()} ${percent(value)}`).join(", ");
  }

  close() {
    this.run?.close();
    this.explain?.close();
    this.methods?.close();
    this.tests?.close();
    this.stage.close();
    this.cameras.close();
  }
}

function explainedQuestion({ step, method, settings, scalar, query }) {
  return [step, method, settings, scalar, query].join("|");
}
