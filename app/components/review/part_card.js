// One part of a rationale: its text, a verdict, kinds of error, and a correction beside the original.

import { el, setText } from "./dom.js";
import { SETTLED, partOf } from "./judgement.js";
import { hasKey } from "./keys.js";

const LONG = 1500; // signs; more is shown in a box of its own height

export class PartCard {
  constructor(part, index, desk) {
    Object.assign(this, { part, index, desk });
    const radio = (verdict, i) => el("button", {
      type: "button", role: "radio", class: "verdict", "data-verdict": verdict, tabindex: hasKey(`verdict${i + 1}`) ? -1 : 0,
      onclick: () => desk.verdict(part.name, verdict),
    }, el("kbd", {}), el("span", { text: verdict }));
    const chip = (kind, i) => el("button", {
      type: "button", class: "chip", "data-error": kind, "aria-pressed": "false", tabindex: hasKey(`error${i + 1}`) ? -1 : 0, onclick: () => desk.toggleError(part.name, kind),
    }, el("kbd", {}), el("span", { text: kind }));
    this.verdicts = part.verdicts.map(radio);
    this.chips = part.errors.map(chip);
    this.errors = el("div", { class: "errors", role: "group", "aria-label": "Kinds of error" }, this.chips);
    this.text = el("p", { class: `text${part.text.length > LONG ? " long" : ""}`, dir: "auto", text: part.text });
    this.editor = el("textarea", { dir: "auto", rows: 2, spellcheck: "true", "aria-label": `Correction of ${part.title}`, oninput: () => desk.correction(part.name, this.editor.value), onfocus: () => desk.focus(part.name) });
    this.box = el("div", { class: "correction", hidden: true }, el("span", { class: "quiet small", text: "should say" }), this.editor,
      el("button", { type: "button", class: "plain", text: "Undo the correction", onclick: () => desk.correction(part.name, null) }));
    this.edit = el("button", { type: "button", class: "plain edit", tabindex: -1, onclick: () => desk.edit(part.name) }, el("kbd", {}), el("span", { text: "edit" }));
    this.node = el("article", { class: "part", "data-part": part.name, onclick: () => desk.focus(part.name) },
      el("header", {}, el("h3", { text: part.title }), this.edit, el("div", { class: "verdicts", role: "radiogroup", "aria-label": part.title }, this.verdicts)),
      this.text, this.errors, this.box, this.others());
  }

  // What others said, where the page may show it.
  others() {
    const said = this.desk.item.reviews?.flatMap(({ annotator, judgement }) => (judgement?.parts ?? []).filter((one) => one.part === this.part.name).map((one) => ({ annotator, ...one }))) ?? [];
    if (!said.length) return null;
    const row = ({ annotator, verdict, errors, correction }) => el("li", {},
      el("b", { text: annotator }), el("span", { class: `said ${verdict.replaceAll(" ", "-")}`, text: [verdict, ...errors].join(" · ") }),
      correction === null ? null : el("span", { class: "theirs", dir: "auto", text: correction }),
      correction === null ? null : el("button", { type: "button", class: "plain", text: "take this text", onclick: () => this.desk.correction(this.part.name, correction) }));
    const differ = this.desk.item.differ?.includes(this.part.name);
    return el("ul", { class: `others${differ ? " differ" : ""}`, "aria-label": "What others said" }, said.map(row));
  }

  show(content, current, keyMap) {
    const { verdict, errors, correction } = partOf(content, this.part.name);
    this.node.classList.toggle("current", current);
    this.node.classList.toggle("judged", Boolean(verdict));
    this.verdicts.forEach((button, i) => {
      const chosen = button.dataset.verdict === verdict;
      button.setAttribute("aria-checked", String(chosen));
      setText(button.firstChild, current ? keyMap.label(`verdict${i + 1}`) : "");
    });
    this.chips.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(errors.includes(button.dataset.error)));
      setText(button.firstChild, current ? keyMap.label(`error${i + 1}`) : "");
    });
    this.errors.hidden = !this.chips.length || (!errors.length && !(current && verdict && !SETTLED.includes(verdict)));
    setText(this.edit.firstChild, current ? keyMap.label("edit") : "");
    this.edit.hidden = correction !== null;
    this.box.hidden = correction === null;
    this.text.classList.toggle("original", correction !== null);
    if (correction !== null && this.editor.value !== correction) this.editor.value = correction;
    if (correction !== null) fit(this.editor);
  }

  reveal() {
    this.node.scrollIntoView({ block: "nearest" });
  }
}

function fit(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(260, area.scrollHeight + 2)}px`;
}
