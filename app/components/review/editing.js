// What keys and clicks change in the judgement at hand, and how such a change is undone.

import { SETTLED, allGood, notRight, partOf, titleOf, unjudged, withPart } from "./judgement.js";

export class Editing {
  constructor(desk) {
    this.desk = desk;
    this.reset();
  }

  reset() {
    this.steps = [];
    this.implied = new Set(); // parts whose verdict nobody chose
    this.typing = "";
  }

  remember(content) {
    this.steps.push(content);
    if (this.steps.length > 200) this.steps.shift();
  }

  undo() {
    const before = this.steps.pop();
    if (!before) return false;
    this.typing = "";
    this.desk.change(before, { silent: true });
    this.desk.screen.bar.comment.value = before.comment;
    this.desk.screen.bar.say("Undone");
    return true;
  }

  act(action, event) {
    const { desk } = this;
    const { screen, item } = desk;
    const part = item.parts.find(({ name }) => name === desk.part) ?? item.parts[0];
    const numbered = /^(verdict|error)(\d)$/.exec(action);
    if (numbered && !event.repeat) {
      const [, kind, place] = numbered;
      const value = part[`${kind}s`][Number(place) - 1];
      if (value !== undefined) (kind === "verdict" ? this.verdict(part.name, value) : this.toggleError(part.name, value));
    } else if (["accept", "correct", "reject", "unsure"].includes(action)) this.overall(action);
    else if (action === "down" || action === "up") this.move(action === "down" ? 1 : -1);
    else if (["play", "back", "on", "look"].includes(action)) screen.picturesAct(action);
    else if (!event.repeat) this.once(action, part.name);
  }

  once(action, part) {
    const { desk } = this;
    if (action === "submit") desk.submit();
    else if (action === "good") this.good();
    else if (action === "edit") this.edit(part);
    else if (action === "comment") desk.screen.bar.comment.focus();
    else if (action === "skip") desk.skip();
  }

  move(by) {
    const names = this.desk.item.parts.map(({ name }) => name);
    const at = names.indexOf(this.desk.part);
    this.desk.focus(names[Math.min(names.length - 1, Math.max(0, at + by))]);
  }

  verdict(name, verdict) {
    const { desk } = this;
    const chosen = !this.implied.delete(name); // choosing what was implied confirms it
    const same = chosen && partOf(desk.content, name).verdict === verdict;
    const errors = SETTLED.includes(verdict) ? { errors: [] } : {};
    desk.part = name;
    desk.change(withPart(desk.content, name, { verdict: same ? "" : verdict, ...errors }));
    if (same || !SETTLED.includes(verdict)) return; // go to the next part
    const left = unjudged(desk.item, desk.content);
    const names = desk.item.parts.map((part) => part.name);
    const next = left.find((one) => names.indexOf(one) > names.indexOf(name)) ?? left[0];
    if (next) desk.focus(next);
  }

  // A kind of error says that the part is not right; how wrong is said with a verdict.
  toggleError(name, kind) {
    const { desk } = this;
    const { errors, verdict } = partOf(desk.content, name);
    const now = errors.includes(kind) ? errors.filter((one) => one !== kind) : [...errors, kind];
    const implied = now.length > 0 && (!verdict || SETTLED.includes(verdict));
    desk.part = name;
    desk.change(withPart(desk.content, name, { errors: now, verdict: (implied && this.imply(name)) || verdict }));
  }

  imply(name) {
    const verdict = notRight(this.desk.item.parts.find((part) => part.name === name));
    if (verdict) this.implied.add(name);
    return verdict;
  }

  correction(name, text) {
    const { desk } = this;
    const silent = text !== null && this.typing === name; // one undo takes back what was typed in one go
    this.typing = text === null ? "" : name;
    const { verdict } = partOf(desk.content, name);
    const implied = !verdict && text !== null && text !== desk.item.parts.find((part) => part.name === name).text;
    desk.part = name;
    desk.change(withPart(desk.content, name, { correction: text, verdict: implied ? this.imply(name) : verdict }), { silent });
  }

  edit(name) {
    const { desk } = this;
    const part = desk.item.parts.find((one) => one.name === name);
    if (partOf(desk.content, name).correction === null) {
      this.typing = "";
      this.correction(name, part.text);
    }
    const { editor } = desk.screen.cards.get(name);
    editor.focus();
    editor.setSelectionRange(editor.value.length, editor.value.length);
  }

  overall(name) {
    const { desk } = this;
    desk.change({ ...desk.content, overall: desk.content.overall === name ? "" : name });
    desk.screen.bar.say("");
  }

  comment(text) {
    const silent = this.typing === "the comment";
    this.typing = "the comment";
    this.desk.change({ ...this.desk.content, comment: text }, { silent });
  }

  good() {
    const { desk } = this;
    desk.change(allGood(desk.item, desk.content));
    const [left] = unjudged(desk.item, desk.content);
    if (left) desk.focus(left);
    if (left) desk.screen.bar.say(`All good but ${titleOf(desk.item, left)}: judge it yourself`, "bad");
    else desk.screen.bar.say("All good: send it with the same care as any other");
  }
}
