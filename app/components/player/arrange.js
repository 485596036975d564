// Where things stand on the page: trajectory (one checkpoint) and compare (two, and their difference).

import { el } from "./dom.js";

export function arrange(player) {
  const time = el("section", { class: "time", "aria-label": "Time" }, player.transport.node, player.timeline.node);
  const reverse = el("p", { class: "reverse-note", role: "status" }, "Words shaded by how much they look at the picked patch. ",
    el("button", { type: "button", text: "Leave (Esc)", onclick: () => player.update({ patch: -1 }) }));
  const actions = el("section", { class: "actions", "aria-label": "Actions" }, legend(player), plotGrid(player));
  const page = player.compare ? comparison(player, reverse, time, actions) : trajectory(player, reverse, time, actions);
  return el("div", { class: `lens ${player.compare ? "compare" : "trajectory"}`, tabindex: "-1" },
    player.header.node, ...page, player.help.node);
}

function trajectory(player, reverse, time, actions) {
  const [pane] = player.panes;
  return [
    el("div", { class: "columns" },
      el("div", { class: "left" }, pane.stage.node, time),
      el("div", { class: "right" }, pane.status.node, player.controls.node,
        titled("Where the query looks", pane.shares.node), reverse, pane.strips.node, pane.waiting, player.header.recorded), actions),
  ];
}

function comparison(player, reverse, time, actions) {
  const [first, second] = player.panes;
  const column = (pane, which) => el("section", { class: `words ${which}`, "aria-label": pane.name },
    el("h4", { text: pane.name }), pane.status.node, pane.shares.node, pane.waiting, pane.strips.node);
  return [
    el("div", { class: "three" }, first.stage.node, second.stage.node, player.difference.node),
    time, player.controls.node, reverse,
    el("div", { class: "two" }, column(first, "first"), column(second, "second")), player.header.recorded, actions,
  ];
}

function titled(title, node) {
  return el("div", { class: "titled" }, el("h4", { text: title }), node);
}

function legend(player) {
  const names = player.panes.filter(({ run }) => run).map(({ name }, i) =>
    el("span", {}, el("i", { class: `line predicted-${i + 1}` }), `predicted by ${name}`));
  return el("div", { class: "section-head" }, el("h4", { text: "Actions" }),
    el("span", {}, el("i", { class: "line recorded-line" }), "recorded"), names,
    el("span", { class: "quiet grow", text: names.length > 1 ? "Δ second − first" : names.length ? "Δ predicted − recorded" : "" }));
}

function plotGrid(player) {
  const grid = player.plots.node;
  grid.append(player.bins.node);
  return grid;
}
