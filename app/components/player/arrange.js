// Where things stand on the page: trajectory (one checkpoint) and compare (two, and their difference).

import { el, setText } from "./dom.js";

export function arrange(player) {
  const time = el("section", { class: "time", "aria-label": "Time" }, player.transport.node, player.timeline.node);
  const reverse = el("p", { class: "reverse-note", role: "status" }, "Words shaded by how much they look at the picked patch. ",
    el("button", { type: "button", text: "Leave (Esc)", onclick: () => player.update({ patch: -1 }) }));
  player.legend = legend(player);
  const actions = el("section", { class: "actions", "aria-label": "Actions" }, player.legend.node, plotGrid(player));
  const page = player.compare ? comparison(player, reverse, time, actions) : trajectory(player, reverse, time, actions);
  return el("div", { class: `lens ${player.compare ? "compare" : "trajectory"}`, tabindex: "-1" },
    player.header.node, ...page, player.help.node);
}

function trajectory(player, reverse, time, actions) {
  const [pane] = player.panes;
  return [
    el("div", { class: "columns" },
      el("div", { class: "left" }, pane.stage.node, pane.cameras.node, time, el("div", { class: "onward" }, pane.whatIf.node, player.downloads.node)),
      el("div", { class: "right" }, pane.status.node, pane.note, player.controls.node,
        titled("Where the query looks", pane.shares.node), reverse, pane.strips.node, pane.waiting, player.header.recorded), actions),
  ];
}

function comparison(player, reverse, time, actions) {
  const [first, second] = player.panes;
  const column = (pane, which) => el("section", { class: `words ${which}`, "aria-label": pane.name },
    el("h4", { text: pane.name }), pane.status.node, pane.note, pane.shares.node, pane.waiting, pane.strips.node);
  return [
    el("div", { class: "three" }, withCameras(first), withCameras(second), player.difference.node),
    time, player.downloads.node, player.controls.node, reverse,
    el("div", { class: "two" }, column(first, "first"), column(second, "second")), player.header.recorded, actions,
  ];
}

function withCameras(pane) {
  return el("div", { class: "pane" }, pane.stage.node, pane.cameras.node, pane.whatIf.node);
}

function titled(title, node) {
  return el("div", { class: "titled" }, el("h4", { text: title }), node);
}

// `show`: whether each checkpoint predicts actions at all, one that does not is left out; whether any predicts chunks.
function legend(player) {
  const names = player.panes.map(({ run, name }, i) => (run
    ? el("span", {}, el("i", { class: `line predicted-${i + 1}` }), `predicted by ${name}`) : null));
  const chunk = el("span", { hidden: true }, el("i", { class: "line chunk" }), "chunk predicted at this step");
  const difference = el("span", { class: "quiet grow" });
  const node = el("div", { class: "section-head" }, el("h4", { text: "Actions" }),
    el("span", {}, el("i", { class: "line recorded-line" }), "recorded"), names, chunk, player.plotNote, difference);
  const show = (acting, chunks) => {
    chunk.hidden = !chunks;
    names.forEach((entry, i) => { if (entry) entry.hidden = !acting[i]; });
    const shown = names.filter((entry, i) => entry && acting[i]).length;
    setText(difference, shown > 1 ? "Δ second − first" : shown ? "Δ predicted − recorded" : "");
  };
  return { node, show };
}

function plotGrid(player) {
  const grid = player.plots.node;
  grid.append(player.bins.node);
  return grid;
}
