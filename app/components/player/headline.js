// What the episode is about: instruction, outcome, and the data set's own rationale for the step where it has one.

import { el, setText } from "./dom.js";
import { partTitle } from "./query.js";

export function headline(episode) {
  const title = el("h2", { class: "instruction", text: episode.instruction || "(no instruction)" });
  if (episode.instruction.length > 160) {
    title.title = "Click to show it all";
    title.addEventListener("click", () => title.classList.toggle("open"));
  }
  const outcome = { true: ["success", "✓ success"], false: ["failure", "✗ failure"], null: ["", "outcome not recorded"] }[String(episode.success)];
  const facts = [episode.robot, `${episode.length} steps`, `${episode.cameras[0].width} × ${episode.cameras[0].height} px`, episode.id];
  const trouble = el("p", { class: "notice", role: "alert", hidden: true });
  const recorded = recordedRationale(episode);
  const node = el("header", { class: "headline" }, title,
    el("div", { class: "facts" }, el("span", { class: `badge ${outcome[0]}`, text: outcome[1] }),
      facts.filter(Boolean).map((text) => el("span", { text }))), trouble);
  return { node, recorded: recorded.node, show: recorded.show, complain: (text) => { trouble.hidden = false; setText(trouble, text); } };
}

// Built once; `show(step)` puts in the rationale that covers the step.
export function recordedRationale(episode) {
  const body = el("div", { class: "recorded-text" });
  const summary = el("summary");
  const node = el("details", { class: "recorded" }, summary, body);
  let shown = null;
  const show = (step) => {
    const found = episode.rationales.find(({ start, stop }) => step >= start && step < stop) ?? null;
    node.hidden = !found;
    if (found === shown) return;
    shown = found;
    if (!found) return;
    setText(summary, `Rationale in the data set${found.author ? ` · ${found.author}` : ""}`);
    body.replaceChildren(...Object.entries(found.parts).filter(([, text]) => text)
      .map(([part, text]) => el("p", {}, el("b", { text: `${partTitle(part)}. ` }), text)));
  };
  return { node, show };
}
