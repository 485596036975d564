// What stands on the page: headline, frames, what followed, parts, the bar at the foot; and the page with nothing to do.

import { el, setText } from "./dom.js";
import { Followed } from "./followed.js";
import { PartCard } from "./part_card.js";
import { Pictures } from "./pictures.js";
import { VerdictBar } from "./verdict_bar.js";

export class Screen {
  constructor(desk) {
    this.desk = desk;
    this.cards = new Map();
    this.pictures = null;
    this.builtAt = 0;
    this.view = { play: !matchMedia("(prefers-reduced-motion: reduce)").matches, look: false, ...desk.settings.read("view") };
    this.progress = el("div", { class: "progress" });
    this.notices = el("div", { class: "notices", "aria-live": "assertive" });
    this.late = el("p", { class: "notice", role: "alert", hidden: true });
    this.main = el("div", { class: "main" });
    this.bar = new VerdictBar(desk);
    this.top = el("header", { class: "top" }, this.progress);
    desk.root.replaceChildren(this.top, this.notices, this.late, this.main, this.bar.node, desk.help.node, desk.stranded.node);
    this.waiting();
    this.onFieldKey = (event) => this.fieldKey(event);
    desk.root.addEventListener("keydown", this.onFieldKey);
    // A button that was clicked lets go of the keys: Enter after a click sends, it does not click again.
    this.onClick = (event) => { if (event.detail > 0) event.target.closest?.("button")?.blur(); };
    desk.root.addEventListener("click", this.onClick);
  }

  build() {
    const { desk } = this;
    const { item } = desk;
    this.pictures?.stop();
    const moment = desk.moments.of(item);
    this.left = el("div", { class: "left" });
    this.cards = new Map(item.parts.map((part, i) => [part.name, new PartCard(part, i, desk)]));
    const link = `/?${new URLSearchParams({ page: "trajectory", dataset: item.dataset, episode: item.episode, step: item.start })}`;
    this.main.replaceChildren(
      el("div", { class: "headline" }, el("h2", { class: "instruction", dir: "auto", text: item.instruction || "(no instruction)", title: item.instruction.slice(0, 2000) }),
        el("p", { class: "quiet small" }, `${item.author || "unknown author"} · ${item.episode} · `, el("a", { href: link, target: "_blank", rel: "noopener", text: "open in the player" }))),
      this.left, el("div", { class: "parts" }, [...this.cards.values()].map(({ node }) => node), this.othersOverall(item)));
    this.bar.idle(false);
    this.builtAt = performance.now();
    desk.root.dataset.item = item.id;
    for (const name of ["ready", "idle"]) delete desk.root.dataset[name];
    this.showPlace();
    this.draw();
    if (moment.facts) this.fillLeft(moment, item);
    else {
      this.left.append(el("p", { class: "loading", text: "Fetching the frames…" }));
      moment.ready.then(() => { if (desk.item === item) this.fillLeft(moment, item); });
    }
    this.main.parentElement.scrollIntoView({ block: "start" });
    this.saved();
  }

  fillLeft(moment, item) {
    this.pictures = new Pictures(moment, this.view, (change) => this.remember(change));
    const followed = moment.facts ? new Followed(moment.facts) : null;
    this.pictures.onStep = (step) => followed?.show(step);
    this.left.replaceChildren(this.pictures.node, ...(followed ? [followed.node] : []));
    this.pictures.show(this.pictures.at);
    this.desk.root.dataset.ready = item.id;
    this.desk.root.dispatchEvent(new CustomEvent("lens-review-ready", { bubbles: true, composed: true, detail: { item: item.id } }));
  }

  showPlace() {
    const { item, keyMap } = this.desk;
    this.late.hidden = item?.place !== false;
    setText(this.late, `Others have this item by now. What you write is kept, but it can be sent only if a place gets free; ${keyMap.label("skip")} takes another item.`);
  }

  othersOverall(item) {
    const said = (item.reviews ?? []).filter(({ judgement }) => judgement);
    if (!said.length) return null;
    return el("ul", { class: "others whole", "aria-label": "Whole rationale, others" }, said.map(({ annotator, judgement }) => el("li", {},
      el("b", { text: annotator }), el("span", { class: "said", text: judgement.overall }), judgement.comment ? el("span", { class: "theirs", dir: "auto", text: judgement.comment }) : null)));
  }

  remember(change) {
    this.view = { ...this.view, ...change };
    this.desk.settings.write(["view"], this.view);
  }

  draw() {
    const { desk } = this;
    if (!desk.item) return;
    for (const [name, card] of this.cards) card.show(desk.content, name === desk.part, desk.keyMap);
    this.bar.show(desk.content);
  }

  picturesAct(action) {
    if (!this.pictures) return;
    if (action === "play") this.pictures.toggle();
    else if (action === "look") this.pictures.toggleLook();
    else this.pictures.step(action === "on" ? 1 : -1);
  }

  // In a text: Esc leaves it, Ctrl+Enter sends; Enter leaves the comment, so that nothing is sent by accident.
  fieldKey(event) {
    const field = event.target.closest?.("textarea, input.comment");
    if (!field) return;
    const send = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (event.key === "Escape" || send || (event.key === "Enter" && field.matches(".comment"))) {
      event.preventDefault();
      event.stopPropagation();
      field.blur();
      if (send) this.desk.submit();
    }
  }

  saved() {
    const { outbox, drafts, item } = this.desk;
    const waiting = outbox.waiting.length;
    this.desk.root.dataset.unsent = waiting;
    this.desk.root.dataset.draft = drafts.state.saved ? "saved" : "unsaved";
    const one = waiting === 1 ? "1 judgement" : `${waiting} judgements`;
    if (outbox.reason) this.bar.state(`${one} not stored yet: ${outbox.reason}. ${outbox.unkept.size ? "Leave this tab open" : "Kept in this browser"}; trying again`, "bad");
    else if (!drafts.state.kept && !drafts.state.saved) this.bar.state(`This draft is not saved: ${drafts.keep.trouble}; ${drafts.state.reason || "sending it to the server"}`, "bad");
    else if (drafts.state.reason) this.bar.state(`Draft kept in this browser only: ${drafts.state.reason}`, "bad");
    else if (waiting) this.bar.state(`Sending ${one}…`, "");
    else this.bar.state(!item ? "" : drafts.state.saved ? "All saved" : this.desk.config.desk === "review" ? "Saving the draft…" : "Draft kept in this browser", "good");
  }

  notice(text, sent) {
    const close = el("button", { type: "button", class: "plain", text: "Close", onclick: () => node.remove() });
    const comment = sent?.judgement?.comment ? ` Your comment was: ${sent.judgement.comment.slice(0, 300)}` : "";
    const node = el("p", { class: "notice" }, `${text} Its draft is still in this browser.${comment} `, close);
    this.notices.append(node);
  }

  showProgress() {
    const { progress } = this.desk.supply;
    if (!progress) return;
    const { desk } = this.desk.config;
    const share = progress.wanted ? Math.min(1, progress.reviews / progress.wanted) : 1;
    const words = desk === "review" ? `${progress.mine} judged by you · ${progress.reviews} of ${progress.wanted} judgements in all`
      : desk === "adjudicate" ? `${progress.conflicts} open conflicts` : `${progress.gold ?? 0} gold answers`;
    this.progress.replaceChildren(el("span", { text: words }), desk === "review" ? el("span", { class: "track", role: "progressbar", "aria-valuenow": Math.round(100 * share), "aria-label": "Progress" }, el("span", { style: { width: `${100 * share}%` } })) : "");
  }

  waiting() {
    this.blank(el("p", { class: "loading", text: "Fetching the next item…" }));
  }

  // No item: everything judged, all held by others, or no answer.
  idle(progress, trouble) {
    const { desk } = this.desk.config;
    const [title, text] = trouble ? ["No item can be fetched", `${trouble}. What you judged is kept; this page looks again every ten seconds.`]
      : desk === "adjudicate" ? ["No conflict is open", "Where annotators differ, the item appears here."]
        : desk === "gold" ? ["Every item has a gold answer", "There is nothing left to answer."]
          : !progress?.items ? ["This project has no items yet", "A lead can add rationales on the page Projects."]
            : progress.done < progress.items ? ["Nothing for you right now", `${progress.leased ? `${progress.leased} ${progress.leased === 1 ? "place is" : "places are"} held by others at the moment` : "What is left needs other annotators than you"}. This page looks again every ten seconds.`]
              : ["All done", `You judged ${progress.mine} of ${progress.items} items. Thank you.`];
    this.blank(el("div", { class: "empty" }, el("h2", { text: title }), el("p", { text })));
    this.desk.root.dataset.idle = title;
  }

  blank(node) {
    this.pictures?.stop();
    this.pictures = null;
    this.cards = new Map();
    for (const name of ["item", "ready", "idle"]) delete this.desk.root.dataset[name];
    this.main.replaceChildren(node);
    this.bar.idle(true);
    this.late.hidden = true;
    setText(this.bar.message, "");
  }

  close() {
    this.pictures?.stop();
    this.desk.root.removeEventListener("keydown", this.onFieldKey);
    this.desk.root.removeEventListener("click", this.onClick);
  }
}
