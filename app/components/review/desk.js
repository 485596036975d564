// The desk: one item in front of the annotator, the next ones ready, every change kept, every judgement on its way.

import { Api, newId } from "./api.js";
import { el } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Editing } from "./editing.js";
import { helpOverlay } from "./help.js";
import { contentOf, judgement, missing, unjudged } from "./judgement.js";
import { Keep } from "./keep.js";
import { KeyMap, listen } from "./keys.js";
import { Moments } from "./moments.js";
import { Outbox } from "./outbox.js";
import { Past } from "./past.js";
import { Screen } from "./screen.js";
import { Stranded } from "./stranded.js";
import { Supply } from "./supply.js";

const SETTLE = 250; // ms after an item appears in which it cannot be sent: a key held too long sends nothing

export class Desk {
  constructor(root, config) {
    Object.assign(this, { root, config, item: null, draft: null, part: "", shownAt: 0 });
    this.api = new Api(config);
    this.settings = new Keep("settings");
    this.keyMap = new KeyMap(this.settings);
    this.keep = new Keep(config.person, "judgements");
    this.moments = new Moments(this.api, config.base);
    this.drafts = new Drafts(this.api, new Keep(config.person, config.desk), config.desk === "review", {
      onChange: () => this.screen.saved(), onPlace: (item, place) => this.placed(item, place),
    });
    this.outbox = new Outbox(this.api, this.keep, {
      onChange: () => this.screen.saved(), onStored: (sent, stored) => this.stored(sent, stored), onRefused: (sent, error) => this.refused(sent, error),
      onRenamed: (before, id) => this.past.renamed(before, id),
    });
    this.past = new Past(this);
    this.supply = new Supply(this);
    this.editing = new Editing(this);
    this.stranded = new Stranded(this);
    this.help = helpOverlay(this.keyMap, () => this.screen.draw());
    this.screen = new Screen(this);
    this.stopListening = listen(root, this.keyMap, (action, event) => this.act(action, event));
    this.onHide = () => this.leave();
    window.addEventListener("pagehide", this.onHide);
    this.onUnload = (event) => { if (this.unsafe) event.preventDefault(); };
    window.addEventListener("beforeunload", this.onUnload);
    this.outbox.flush();
    this.supply.begin();
    this.stranded.look();
  }

  // Something is neither on the server nor in this browser's storage.
  get unsafe() {
    return this.outbox.unkept.size > 0 || (!this.drafts.state.kept && !this.drafts.state.saved);
  }

  open(item, content = null) {
    this.item = item;
    this.draft = this.drafts.open(item);
    if (content) this.draft = { review: newId(), content, revision: 0 };
    this.draft.content = contentOf(item, this.draft.content);
    this.editing.reset();
    this.shownAt = performance.now();
    this.part = unjudged(item, this.draft.content)[0] ?? item.parts[0].name;
    this.screen.build();
    if (content) this.drafts.note(item, this.draft);
  }

  // Nothing to do now: the screen says why, the supply keeps looking.
  idle(progress, reason = "") {
    this.item = null;
    this.screen.idle(progress, reason);
  }

  get content() {
    return this.draft.content;
  }

  change(content, { silent = false } = {}) {
    if (!silent) this.editing.remember(this.draft.content);
    this.draft.content = { ...content, seconds: this.seconds() };
    this.drafts.note(this.item, this.draft);
    this.screen.draw();
  }

  seconds() {
    const now = performance.now();
    const passed = Math.min(600, (now - this.shownAt) / 1000); // who went to lunch did not think for an hour
    this.shownAt = now;
    return Math.round((this.draft.content.seconds + passed) * 10) / 10;
  }

  submit() {
    if (!this.item || performance.now() - this.screen.builtAt < SETTLE) return;
    const lack = missing(this.item, this.content, { reason: this.config.desk === "adjudicate" });
    if (lack) {
      this.screen.bar.say(lack.message, "bad");
      if (lack.part) this.focus(lack.part);
      if (lack.comment) this.screen.bar.comment.focus();
      return;
    }
    const { item } = this;
    const sent = {
      id: this.draft.review, item: item.id, project: this.config.project.id, desk: this.config.desk, judgement: judgement(item, this.content),
      seconds: this.seconds(), version: item.version ?? 0, at: Date.now(),
    };
    this.past.add(item, sent);
    this.drafts.drop(item.id, true); // the browser's copy goes when the server has acknowledged
    this.outbox.add(sent);
    this.screen.bar.say(`${this.past.count} judged in this sitting`);
    this.supply.advance();
  }

  stored(sent, stored) {
    this.drafts.keep.remove("draft", sent.item);
    this.past.stored(sent, stored);
    this.supply.counted();
    if (this.stranded.has(sent.item)) this.stranded.look();
  }

  refused(sent, error) {
    this.past.drop(sent.id);
    this.screen.notice(`A judgement was not taken: ${error.message}.`, sent);
    this.stranded.keep(sent);
  }

  // Whether a judgement of the item would be taken: told at once, not only to who has finished it.
  placed(id, place) {
    if (this.item?.id !== id || (this.item.place ?? true) === place) return;
    this.item.place = place;
    this.screen.showPlace();
    this.stranded.look();
  }

  act(action, event) {
    if (action === "help") this.help.toggle();
    else if (action === "undo" && !event.repeat) this.undo();
    else if (this.item) this.editing.act(action, event);
  }

  focus(name) {
    if (this.part === name) return;
    this.part = name;
    this.screen.draw();
    this.screen.cards.get(name)?.reveal();
  }

  undo() {
    if (this.item && this.editing.undo()) return;
    this.past.undo();
  }

  skip() {
    if (this.item) this.supply.skip();
  }

  verdict(name, verdict) { this.editing.verdict(name, verdict); }
  toggleError(name, kind) { this.editing.toggleError(name, kind); }
  correction(name, text) { this.editing.correction(name, text); }
  edit(name) { this.editing.edit(name); }
  overall(name) { this.editing.overall(name); }
  comment(text) { this.editing.comment(text); }
  good() { this.editing.good(); }

  leave() {
    this.drafts.close();
    this.supply.release();
  }

  close() {
    this.leave();
    this.stopListening();
    window.removeEventListener("pagehide", this.onHide);
    window.removeEventListener("beforeunload", this.onUnload);
    this.outbox.close();
    this.supply.close();
    this.screen.close();
    this.moments.close();
    this.root.replaceChildren(el("p", { class: "loading", text: "Closed." }));
  }
}
