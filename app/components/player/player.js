// The player: one episode, one or two checkpoints, one view. Everything that happens while looking happens here,
// without asking the server for more than frames and captured steps.

import { askedPatch, imageRanges, layerRange } from "./attention_view.js";
import { actionDimensions } from "./action_match.js";
import { ActionPlots } from "./action_plots.js";
import { BinPlot } from "./bin_plot.js";
import { Controls } from "./controls.js";
import { Difference } from "./difference.js";
import { el } from "./dom.js";
import { Downloads } from "./downloads.js";
import { headline } from "./headline.js";
import { helpOverlay } from "./help.js";
import { listen } from "./keyboard.js";
import { keyActions } from "./key_actions.js";
import { arrange } from "./arrange.js";
import { imageParts } from "./overlay.js";
import { Pane } from "./pane.js";
import { Playback } from "./playback.js";
import { differingWords } from "./rationale_diff.js";
import { Frames, Prefetch, fetchTruth } from "./source.js";
import { available } from "./reductions.js";
import { rolloutOffer } from "./rollout_view.js";
import { Timeline } from "./timeline.js";
import { Transport } from "./transport.js";
import { UrlMirror } from "./view_state.js";

const OBJECT_COLOURS = ["#56b4e9", "#e69f00", "#cc79a7", "#f0e442", "#009e73", "#d55e00", "#ffffff"];

export class Player {
  constructor(root, config, episode, view, statuses) {
    this.root = root;
    this.config = config;
    this.episode = episode;
    this.compare = config.panes.length > 1;
    this.unchosen = !episode.cameras.some(({ name }) => name === view.camera);
    this.view = this.valid(view);
    this.truth = { phases: new Array(episode.length).fill(""), boxes: {} };
    this.frames = new Frames(config.base, config.dataset, episode);
    this.panes = config.panes.map((pane, index) => new Pane(this, pane, statuses[index], index));
    this.difference = this.compare ? new Difference(this) : null;
    this.build();
    this.url = new UrlMirror(() => this.view);
    this.prefetch = new Prefetch(() => this.loaders(), () => this.reach(), episode.length, (step) => step === this.view.step && this.render());
    this.stopKeys = listen(root, keyActions(this));
    this.open();
  }

  build() {
    this.playback = new Playback(this);
    const scrub = { onScrub: (step) => this.scrub(step), onRelease: () => this.settled() };
    this.timeline = new Timeline(scrub);
    this.help = helpOverlay();
    this.transport = new Transport({
      onPlay: () => this.playback.toggle(), onStep: (by) => this.go(this.view.step + by), onHelp: () => this.help.toggle(),
      onJump: (where) => this.go(where === "first" ? 0 : this.episode.length - 1), onSpeed: (speed) => this.update({ speed }),
    });
    this.controls = new Controls({
      update: (patch) => this.update(patch), cameras: this.episode.cameras.map(({ name }) => name),
      onHead: (layer, head) => this.update({ reduce: "head", layer, head }), onLayer: (layer, extend) => this.pickLayer(layer, extend),
      onAllRows: () => this.keepAllRows(), onMethods: () => this.panes.forEach(({ methods }) => methods?.learn()),
      onExplain: (all) => this.explain(all), onCancelExplain: () => this.panes.forEach((pane) => pane.explain?.cancel()),
    });
    this.plots = new ActionPlots({ ...scrub, onDimension: (dim) => this.pickDimension(dim) });
    this.bins = new BinPlot();
    this.plotNote = el("span", { class: "quiet", hidden: true, text: "names differ: dimensions matched in order" });
    this.header = headline(this.episode);
    this.downloads = new Downloads(this);
    this.node = arrange(this);
    this.root.replaceChildren(this.node);
  }

  // What is looked at comes first and alone; everything around it is fetched once it is on the screen.
  async open() {
    this.render();
    const frame = this.frames.load(this.view.camera, this.view.step).catch((error) => this.complain(error));
    const rows = this.panes.map(async (pane) => {
      await pane.open();
      this.chooseCamera(pane);
      await pane.run?.load(this.view.step).catch((error) => this.complain(error));
    });
    await frame;
    this.render();
    await Promise.all(rows);
    this.drawStages();
    this.render();
    if (this.closed) return;
    this.prefetch.from(this.view.step);
    await this.learnTruth();
  }

  // Unless the viewer chose a camera, one that the model sees.
  chooseCamera(pane) {
    const read = pane.camerasRead();
    if (this.unchosen && read.length && !read.includes(this.view.camera) && this.known(read[0])) this.update({ camera: read[0] });
    this.unchosen = false;
  }

  async learnTruth() {
    this.truth = await fetchTruth(this.config.base, this.config.dataset, this.episode).catch(() => this.truth);
    this.render();
  }

  complain(error) {
    this.header.complain(error.message);
  }

  // The view with everything that this episode does not have put right.
  valid(view) {
    const cameras = this.episode.cameras.map(({ name }) => name);
    return {
      ...view, step: Math.min(this.episode.length - 1, Math.max(0, view.step)),
      camera: cameras.includes(view.camera) ? view.camera : cameras[0],
      dim: Math.max(0, view.dim), k: Math.max(1, view.k),
      ranked_camera: cameras.includes(view.ranked_camera) ? view.ranked_camera : "",
    };
  }

  update(change) {
    const before = this.view;
    this.view = this.valid({ ...this.view, ...change });
    if (before.speed !== this.view.speed) this.playback.restart();
    if (before.camera !== this.view.camera || !this.ready()) this.prefetch.from(this.view.step);
    this.url.soon();
    this.drawStages();
    this.render(true);
  }

  // The scrubbing path: pixels first, in the same task as the input; everything else in the next animation frame.
  scrub(step) {
    if (this.playback.playing) this.playback.pause();
    this.showStep(step);
  }

  showStep(step) {
    if (step === this.view.step) return;
    this.view = this.valid({ ...this.view, step });
    this.drawStages();
    this.render(true);
    this.url.soon();
    if (!this.ready()) this.prefetch.from(this.view.step);
  }

  go(step) {
    this.scrub(Math.min(this.episode.length - 1, Math.max(0, step)));
  }

  settled() {
    this.prefetch.from(this.view.step);
  }

  ask(query) {
    const change = { query, patch: -1 };
    const [kind, ...rest] = query.split(".");
    const dim = kind === "action" ? this.dimensions().findIndex(({ name }) => name === rest.join(".")) : -1;
    this.update(dim >= 0 ? { ...change, dim } : change);
  }

  // Continuous actions have no token a dimension: there the query stays with the steps of the chunk.
  pickDimension(dim) {
    const { name } = this.dimensions()[dim];
    const bundle = this.anyBundle();
    if (bundle?.generated.some(({ part, names }) => part === "action" && names.includes(name))) this.ask(`action.${name}`);
    this.update({ dim });
  }

  // What is plotted: the episode's dimensions, then those that only a policy has.
  dimensions() {
    return this.matched().dims;
  }

  matched() {
    const policies = this.panes.map(({ run }) => run?.status.actions ?? null);
    if (!this.dims || policies.some((policy, i) => policy !== this.dims.policies[i] && JSON.stringify(policy) !== JSON.stringify(this.dims.policies[i]))) {
      this.dims = { policies, ...actionDimensions(this.episode.action, policies) };
    }
    return this.dims;
  }

  known(camera) {
    return this.episode.cameras.some(({ name }) => name === camera);
  }

  pickPatch(patch) {
    this.update({ patch: patch === this.view.patch ? -1 : patch });
  }

  pickLayer(layer, extend) {
    const bundle = this.anyBundle();
    const current = bundle ? layerRange(bundle, this.view) : [layer];
    const from = extend ? Math.min(layer, current[0]) : layer;
    const to = extend ? Math.max(layer, current[current.length - 1]) : layer;
    const alone = !extend && current.length === 1 && current[0] === layer && this.view.reduce !== "head";
    const reduce = this.view.reduce === "head" ? "mean" : this.view.reduce;
    this.update(alone ? { reduce, from: 0, to: -1 } : { reduce, layer, from, to });
  }

  explain(all) {
    for (const pane of this.panes) pane.startExplaining(all);
  }

  // For the controls: methods of all panes together, greyed out where none can run them.
  attribution() {
    const panes = this.panes.filter(({ explain }) => explain);
    if (!panes.length || !panes.some((pane) => pane.bundle())) return null;
    const { step } = this.view;
    const lists = panes.map(({ methods }) => methods.list).filter(Boolean);
    const methods = lists.length ? lists[0].map((method, i) => ({ ...method, why_not: lists.map((list) => list[i].why_not).every(Boolean) ? method.why_not : null })) : null;
    return {
      methods, waiting: lists.length ? "" : panes[0].methods.state, task: panes.map(({ explain }) => explain.task).find(Boolean) ?? null,
      title: panes.map((pane) => pane.shownMap()?.title).find(Boolean) ?? "", complaint: panes.map(({ explain }) => explain.complaint).find(Boolean) ?? "", length: this.episode.length,
      explained: Math.min(...panes.map(({ explain }) => explain.steps.size)), stepDone: panes.every(({ explain }) => explain.maps.get(step)),
    };
  }

  keepAllRows() {
    this.update({ rows: "all" });
    for (const { run } of this.panes) run?.keepRows("all", this.view.step);
  }

  // For the choice of layers and heads: this step, else the one that was shown last, so that keys work while it loads.
  anyBundle() {
    this.shown = this.panes.map((pane) => pane.bundle()).find((bundle) => bundle?.weights) ?? this.shown;
    return this.shown;
  }

  loaders() {
    const loads = this.camerasShown().map((camera) => (step) => this.frames.load(camera, step));
    for (const { run } of this.panes) if (run) loads.push((step) => run.load(step));
    return loads;
  }

  // The one that is chosen, and all that a model reads where they stand side by side.
  camerasShown() {
    const read = this.panes.map((pane) => pane.camerasRead().filter((camera) => this.known(camera))).filter((cameras) => cameras.length > 1);
    return [...new Set([this.view.camera, ...read.flat()])];
  }

  reach() {
    return Math.min(...this.panes.map(({ run }) => run?.reach(this.view.step) ?? Infinity));
  }

  ready() {
    const { step } = this.view;
    return this.camerasShown().every((camera) => this.frames.get(camera, step)) && this.panes.every(({ run }) => !run || !run.captured(step) || run.fresh(step));
  }

  // Newly captured steps are fetched without disturbing what is under way.
  prefetchSoon() {
    if (this.waitingPrefetch || this.closed) return;
    this.waitingPrefetch = window.setTimeout(() => {
      this.waitingPrefetch = null;
      this.prefetch.from(this.view.step);
    }, 150);
  }

  drawStages() {
    const drawn = this.panes.map((pane) => pane.drawStage());
    this.difference?.drawStage();
    if (!drawn.every(Boolean)) return;
    this.node.dataset.step = this.view.step;
    const overlay = this.panes.some((pane) => pane.stage.picture?.overlays.length > 0);
    this.root.dispatchEvent(new CustomEvent("lens-drawn", { bubbles: true, composed: true, detail: { episode: this.episode.id, step: this.view.step, overlay } }));
  }

  // `drawn`: the stages already show the view as it is now, only the rest is left to do.
  render(drawn = false) {
    this.stale = !drawn || (Boolean(this.scheduled) && this.stale);
    if (this.scheduled || this.closed) return;
    this.scheduled = requestAnimationFrame(() => {
      this.scheduled = null;
      if (this.stale) this.drawStages();
      this.drawDetails();
    });
  }

  drawDetails() {
    this.anyBundle();
    for (const pane of this.panes) pane.drawDetails();
    this.difference?.drawDetails();
    this.drawTime();
    this.drawControls();
    this.drawActions();
    this.header.show(this.view.step);
    this.node.classList.toggle("reversing", this.view.patch >= 0 && !this.panes.some((pane) => askedPatch(pane.bundle(), this.view) >= 0));
  }

  drawTime() {
    const { episode, view, truth } = this;
    const bands = this.panes.filter(({ run }) => run).map(({ run, name }) => ({ name, captured: run.steps.map(Boolean) }));
    this.timeline.show({ length: episode.length, fps: episode.fps, phases: truth.phases, bands, step: view.step });
    this.transport.show({ step: view.step, length: episode.length, fps: episode.fps, phase: truth.phases[view.step] ?? "",
      playing: this.playback.playing, speed: view.speed });
  }

  drawControls() {
    const { view } = this;
    const pane = this.panes.find((candidate) => candidate.bundle()?.weights);
    const bundle = pane?.bundle();
    const bundles = this.panes.map((each) => each.bundle()).filter(Boolean);
    this.controls.show({
      view, bundle, most: bundle ? available(layerRange(bundle, view).length, bundle.shape[1], view) : view.k,
      images: bundle ? imageRanges(bundle).length : 0, rolloutOffer: view.reduce === "rollout" ? rolloutOffer(this.panes) : null,
      hasObjects: Object.hasOwn(this.truth.boxes, view.camera), hasMarks: bundles.some(({ marks }) => marks.length), hasDepth: bundles.some(({ depth }) => depth.length),
      attribution: this.attribution(), tiles: pane ? imageParts(bundle, view.camera).parts : [], matrix: bundle ? this.matrix(pane, bundle) : null,
    });
  }

  matrix(pane, bundle) {
    const { heads, shares } = pane.attention();
    const range = layerRange(bundle, this.view);
    return { layers: bundle.captured, heads: bundle.shape[1], shares, chosen: chosenCells(heads, bundle.shape[1]),
      from: range[0], to: range[range.length - 1], mode: this.view.reduce };
  }

  drawActions() {
    const { episode, view } = this;
    const colours = ["first", "second"];
    const { dims, inOrder } = this.matched();
    const series = this.panes.flatMap(({ run, name }, which) => (run
      ? [{ name, which, colour: colours[which], values: run.steps.map((step) => step?.action ?? null), reach: run.steps.map((step) => step?.reach ?? null), chunk: this.panes[which].bundle()?.action ?? [] }] : []));
    const key = this.panes.map(({ run }) => run?.steps.reduce((n, s) => n + Boolean(s), 0)).join(",");
    this.plots.show({ length: episode.length, step: view.step, dim: view.dim, recorded: episode.actions, dims, series, key });
    this.plotNote.hidden = !inOrder;
    this.legend.show(this.panes.map(({ run }) => run?.status.actions?.names.length !== 0), series.some(({ chunk }) => chunk.length > 1));
    this.drawBins(dims[view.dim] ?? dims[0]);
  }

  drawBins(dim) {
    const { episode, view } = this;
    // Without bins there is nothing to tell: continuous actions, a model without actions.
    const bundles = this.panes.map((pane) => pane.bundle()).filter(Boolean);
    this.bins.node.hidden = !dim || (bundles.length > 0 && bundles.every(({ distributions }) => !distributions.length));
    if (this.bins.node.hidden) return;
    const sets = this.panes.flatMap((pane, i) => {
      const found = pane.bundle()?.distributions.find((entry) => entry.name === dim.name);
      return found ? [{ ...found, predicted: found.chosen, colour: i ? "--predicted-2" : "--predicted" }] : [];
    });
    this.bins.show({ name: dim.name, unit: dim.unit, recorded: dim.recorded < 0 ? null : episode.actions[view.step][dim.recorded], sets });
  }

  boxes() {
    if (!Object.hasOwn(this.truth.boxes, this.view.camera)) return null;
    const found = this.truth.boxes[this.view.camera];
    return found.labels.flatMap((label, i) => {
      const box = found.steps[this.view.step][i];
      return box ? [{ label, box, colour: OBJECT_COLOURS[i % OBJECT_COLOURS.length] }] : [];
    });
  }

  // Numbers of the words of pane `index` that the other pane's rationale does not have at the same place.
  differing(index) {
    if (!this.compare) return null;
    const bundles = this.panes.map((pane) => pane.bundle());
    if (bundles.some((bundle) => !bundle?.words.length)) return null;
    if (this.diffed?.[0] !== bundles[0] || this.diffed?.[1] !== bundles[1]) {
      const texts = bundles.map((bundle) => bundle.words.map((token) => token.text.trim()));
      this.diffed = [...bundles, differingWords(...texts)];
    }
    return this.diffed[2][index];
  }

  close() {
    this.closed = true;
    this.playback.pause();
    this.prefetch.stop();
    window.clearTimeout(this.waitingPrefetch);
    this.url.stop();
    this.stopKeys();
    this.panes.forEach((pane) => pane.close());
    for (const part of [this.difference, this.timeline, this.plots, this.bins, this.frames]) part?.close();
    this.root.replaceChildren();
  }
}

// Head -1 stands for all heads of its layer.
function chosenCells(chosen, heads) {
  const every = Array.from({ length: heads }, (_, head) => head);
  return new Set(chosen.flatMap(({ layer, head }) => (head < 0 ? every : [head]).map((each) => `${layer},${each}`)));
}

export function failure(message) {
  return el("div", { class: "lens" }, el("div", { class: "notice", role: "alert" }, message));
}
