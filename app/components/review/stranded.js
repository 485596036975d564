// Work that came too late, because others have all places of its item: to be read, copied, opened again or thrown away.

import { newId } from "./api.js";
import { el, setText } from "./dom.js";
import { contentOf, partOf } from "./judgement.js";

export class Stranded {
  constructor(desk) {
    this.desk = desk;
    this.items = [];
    this.button = el("button", { type: "button", class: "plain", hidden: true, onclick: () => { this.draw(); this.node.showModal(); } });
    this.node = el("dialog", { class: "help kept", "aria-label": "Kept drafts" });
    this.node.addEventListener("keydown", (event) => event.stopPropagation());
  }

  async look() {
    if (this.desk.config.desk !== "review") return;
    const said = await this.desk.api.post("stranded").catch(() => null); // asked again when something else is stranded
    if (!said) return;
    this.items = said.items;
    this.button.hidden = !this.items.length;
    setText(this.button, this.items.length === 1 ? "1 kept draft" : `${this.items.length} kept drafts`);
    if (this.node.open) this.draw();
  }

  has(id) {
    return this.items.some((item) => item.id === id);
  }

  // A refused judgement, whole: the server may have an older draft of it.
  async keep({ item, judgement, seconds }) {
    if (this.desk.config.desk !== "review") return;
    const content = { ...judgement, seconds };
    await this.desk.api.post("draft", { item, review: newId(), content, revision: 1 }).catch(() => {}); // this browser has it
    await this.look();
  }

  draw() {
    const none = this.items.length ? null : el("p", { text: "None are left." });
    this.node.replaceChildren(el("h3", { text: "Kept drafts" }),
      el("p", { class: "quiet", text: "Others have these items by now. What you wrote can be sent only if a place gets free." }),
      ...this.items.map((item) => this.entry(item)), none ?? "",
      el("div", { class: "row" }, el("span", { class: "grow" }), el("button", { type: "button", class: "strong", text: "Close", onclick: () => this.node.close() })));
  }

  entry(item) {
    const { content } = this.desk.drafts.newest(item);
    return el("section", { "data-item": item.id }, el("h4", { dir: "auto", text: item.instruction || item.episode }),
      el("textarea", { readonly: true, rows: 6, dir: "auto", "aria-label": "What you wrote", text: told(item, contentOf(item, content)) }),
      el("div", { class: "row" }, el("button", { type: "button", text: "Open", onclick: () => this.open(item) }),
        el("button", { type: "button", class: "plain", text: "Throw away", onclick: () => this.discard(item) })));
  }

  open(item) {
    this.node.close();
    if (this.desk.item?.id === item.id) return;
    this.desk.supply.putBack();
    this.desk.open(item);
  }

  async discard(item) {
    if (!confirm("Throw this draft away for good?")) return;
    await this.desk.api.post("discard", { item: item.id }).then(() => this.desk.drafts.drop(item.id), () => {});
    await this.look();
  }
}

function told(item, content) {
  const parts = item.parts.map(({ name, title }) => {
    const { verdict, errors, correction } = partOf(content, name);
    const said = [verdict, ...errors].filter(Boolean).join(", ");
    return said || correction !== null ? `${title}: ${said}${correction === null ? "" : `\n${correction}`}` : "";
  });
  return [...parts, content.overall && `Whole: ${content.overall}`, content.comment].filter(Boolean).join("\n\n");
}
