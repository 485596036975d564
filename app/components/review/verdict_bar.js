// The bar at the foot: the whole rationale's verdict, a comment, sending, and what is saved where.

import { el, setText } from "./dom.js";
import { OVERALL, unjudged } from "./judgement.js";

export class VerdictBar {
  constructor(desk) {
    this.desk = desk;
    this.buttons = OVERALL.map(([name, title]) => el("button", {
      type: "button", role: "radio", class: `overall ${name}`, "data-overall": name, onclick: () => desk.overall(name),
    }, el("kbd", {}), el("span", { text: title })));
    this.comment = el("input", {
      type: "text", class: "comment", dir: "auto", placeholder: desk.config.desk === "adjudicate" ? "Reason (needed)" : "Comment", "aria-label": "Comment",
      oninput: () => desk.comment(this.comment.value),
    });
    this.submit = el("button", { type: "button", class: "strong submit", onclick: () => desk.submit() }, el("kbd", {}), el("span", { text: desk.config.desk === "review" ? "Send, next" : "Decide, next" }));
    this.message = el("p", { class: "message", role: "status", "aria-live": "polite" });
    this.saved = el("p", { class: "saved", role: "status" });
    this.help = el("button", { type: "button", class: "plain", title: "Keys", onclick: () => desk.help.toggle() }, el("kbd", {}), el("span", { text: "keys" }));
    this.undo = el("button", { type: "button", class: "plain", onclick: () => desk.undo() }, el("kbd", {}), el("span", { text: "undo" }));
    this.skip = el("button", { type: "button", class: "plain item-only", onclick: () => desk.skip() }, el("kbd", {}), el("span", { text: "another item" }));
    this.good = el("button", { type: "button", class: "plain item-only", onclick: () => desk.good() }, el("kbd", {}), el("span", { text: "all good" }));
    this.node = el("footer", { class: "bar" },
      el("div", { class: "row" }, el("div", { class: "overalls", role: "radiogroup", "aria-label": "Whole rationale" }, this.buttons), this.comment, this.submit),
      el("div", { class: "row small" }, this.message, this.saved, desk.stranded.button, this.good, this.undo, this.skip, this.help));
  }

  // Without an item only what is saved or kept, undoing and the keys are left.
  idle(yes) {
    this.node.classList.toggle("idle", yes);
    for (const [button, action] of [[this.help, "help"], [this.undo, "undo"]]) setText(button.firstChild, this.desk.keyMap.label(action));
  }

  show(content) {
    const { keyMap, item } = this.desk;
    for (const button of this.buttons) {
      button.setAttribute("aria-checked", String(button.dataset.overall === content.overall));
      setText(button.firstChild, keyMap.label(button.dataset.overall));
    }
    const keys = [[this.submit, "submit"], [this.help, "help"], [this.undo, "undo"], [this.skip, "skip"], [this.good, "good"]];
    for (const [button, action] of keys) setText(button.firstChild, keyMap.label(action));
    this.submit.classList.toggle("waiting", !content.overall || (unjudged(item, content).length > 0 && ["accept", "correct"].includes(content.overall)));
    if (this.comment.value !== content.comment && this.desk.root.getRootNode().activeElement !== this.comment) this.comment.value = content.comment;
  }

  say(text, kind = "") {
    setText(this.message, text);
    this.message.dataset.kind = kind;
  }

  // What is kept where: the one thing that a person who is about to close the tab wants to know.
  state(text, kind) {
    setText(this.saved, text);
    this.saved.dataset.kind = kind;
  }
}
