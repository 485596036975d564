// What the robot did: what changed in its state, in numbers, and each action dimension as a small curve.

import { el } from "./dom.js";

const WIDTH = 120, HEIGHT = 30;

export class Followed {
  constructor(facts) {
    this.facts = facts;
    this.cursors = [];
    const { names, units, changes, phases, start, end } = facts;
    this.node = el("section", { class: "followed", "aria-label": "What the robot did next" },
      el("h4", { text: `What the robot did, steps ${start} to ${end - 1}` }),
      phases.length ? el("p", { class: "small", text: phases.join(" → ") }) : null,
      changes.length ? el("p", { class: "small", text: changes.map(told).join(" · ") }) : null,
      el("div", { class: "curves" }, names.map((name, i) => this.curve(name, units[i] ?? "", i))));
    this.show(start);
  }

  curve(name, unit, index) {
    const { actions, start, stop } = this.facts;
    const values = actions.map((row) => row[index]);
    const known = values.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const x = (i) => (actions.length > 1 ? (i / (actions.length - 1)) * WIDTH : WIDTH / 2);
    const y = (value) => (high > low ? HEIGHT - 3 - ((value - low) / (high - low)) * (HEIGHT - 6) : HEIGHT / 2);
    const points = values.map((value, i) => (value === null ? "" : `${x(i).toFixed(1)},${y(value).toFixed(1)}`)).filter(Boolean).join(" ");
    const cursor = svg("line", { y1: 0, y2: HEIGHT, class: "cursor" });
    this.cursors.push((step) => { for (const side of ["x1", "x2"]) cursor.setAttribute(side, x(step - start)); });
    const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${name} from ${shown(low)} to ${shown(high)} ${unit}` },
      svg("rect", { x: 0, y: 0, width: Math.max(2, x(Math.max(0, stop - 1 - start))), height: HEIGHT, class: "span" }), svg("polyline", { points }), cursor);
    const range = known.length ? (low === high ? shown(low) : `${shown(low)} … ${shown(high)}`) : "no numbers";
    return el("div", { class: "curve", title: `${name}: ${range} ${unit}` }, el("span", { class: "name", text: name }), plot, el("span", { class: "quiet range", text: range }));
  }

  show(step) {
    for (const move of this.cursors) move(step);
  }
}

function told({ name, unit, before, after }) {
  return `${name} ${shown(before)} → ${shown(after)}${unit ? ` ${unit}` : ""}`;
}

function shown(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  return Math.abs(value) < 1e-9 ? "0" : Number(value.toPrecision(3)).toString(); // rounding is not a movement
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
