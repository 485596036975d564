// Instruction, state, rationale in its four parts and action tokens as chips, shaded by attention. Chips that the
// model generated are buttons: pressing one makes it the query.

import { el, setText } from "./dom.js";
import { percent } from "./attention_view.js";
import { partTitle } from "./query.js";

const PARTS = ["instruction", "state", "rationale", "action"];
const TITLES = { instruction: "Instruction", state: "State", rationale: "Rationale", action: "Action tokens" };
const STEPS_TITLE = "Action steps"; // of a chunk of continuous actions

export class TokenStrips {
  constructor({ onQuery, parts = PARTS }) {
    this.onQuery = onQuery;
    this.parts = parts;
    this.node = el("div", { class: "strips" });
    this.built = null;
    this.chips = [];
    this.node.addEventListener("keydown", (event) => this.key(event));
  }

  // value: { bundle, row, query, tokens: those that the query asks, reverse: Map(token -> weight) | null,
  // words: Set of differing word numbers | null }
  show(value) {
    const { bundle } = value;
    this.node.hidden = !bundle;
    if (!bundle) return;
    if (this.built !== bundle) this.build(bundle);
    this.built = bundle;
    this.shade(value);
    this.mark(value);
  }

  build(bundle) {
    const groups = grouped(bundle, this.parts);
    this.chips = [];
    const sections = groups.map((group) => this.section(bundle, group));
    this.node.replaceChildren(...sections);
  }

  section(bundle, { part, name, positions }) {
    const title = part === "rationale" ? partTitle(name) : part === "action" && bundle.continuous ? STEPS_TITLE : TITLES[part];
    const written = bundle.generated.length > 0;
    const query = !written ? null : part === "rationale" ? `rationale.${name}` : part === "action" ? "action" : null;
    const head = query
      ? el("button", { type: "button", class: "strip-title", text: title, "data-query": query, onclick: () => this.onQuery(query) })
      : el("span", { class: "strip-title", text: title });
    const line = el("div", { class: `chips part-${part}`, role: "group", "aria-label": title });
    for (const position of positions) append(line, this.chip(bundle, part, position));
    return el("div", { class: "strip", "data-part": part }, head, line);
  }

  chip(bundle, part, position) {
    const asked = bundle.byPosition.get(position);
    const query = asked ? queryOf(bundle, asked) : null;
    const text = part === "action" && asked ? actionText(bundle, asked) : clean(bundle.tokens[position]);
    const node = query
      ? el("button", { type: "button", class: "chip", text, "data-query": query, tabindex: "-1", onclick: () => this.onQuery(query) })
      : el("span", { class: "chip still", text });
    if (text.length === 1 && ".,;:!?".includes(text)) node.classList.add("close");
    this.chips.push({ node, position, token: asked, query, text });
    return node;
  }

  // A signed row is shaded by size; what is against the target is marked as such.
  shade({ bundle, row, reverse, told }) {
    this.node.classList.toggle("reverse", Boolean(reverse));
    const of = (chip) => (reverse ? (chip.token ? reverse.get(chip.token) ?? 0 : 0) : row ? row[chip.position] : 0);
    const values = this.chips.map(of);
    const top = Math.max(1e-30, ...values.map(Math.abs));
    this.chips.forEach((chip, index) => {
      const level = (Math.abs(values[index]) / top).toFixed(2);
      chip.node.classList.toggle("against", values[index] < 0);
      if (chip.level !== level) chip.node.style.setProperty("--level", level);
      chip.level = level;
      chip.node.title = told && !reverse ? `“${chip.text}” ${told(values[index])}` : describe(bundle, chip, values[index], reverse);
    });
  }

  mark({ query, tokens, words, bundle }) {
    let focusable = null;
    const asked = new Set(tokens);
    const [kind, name] = query.split(".");
    for (const chip of this.chips) {
      const token = chip.token;
      const inQuery = token && asked.has(token);
      chip.node.classList.toggle("asked", Boolean(inQuery));
      if (chip.query) {
        chip.node.setAttribute("aria-pressed", String(Boolean(inQuery)));
        chip.node.tabIndex = -1;
        if (!focusable || chip.query === query) focusable = chip;
      }
      const word = token?.part === "rationale" ? bundle.words.indexOf(token) : -1;
      chip.node.classList.toggle("differs", Boolean(words && word >= 0 && words.has(word)));
    }
    if (focusable) focusable.node.tabIndex = 0;
    for (const title of this.node.querySelectorAll(".strip-title[data-query]")) {
      title.setAttribute("aria-pressed", String(title.dataset.query === query || (kind === "rationale" && !name && title.dataset.query.startsWith("rationale"))));
    }
  }

  key(event) {
    const buttons = this.chips.filter(({ query }) => query).map(({ node }) => node);
    const at = buttons.indexOf(event.target);
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (at < 0 || !move || event.shiftKey) return;
    event.preventDefault();
    buttons[Math.min(buttons.length - 1, Math.max(0, at + move))].focus();
  }
}

// A full stop stays on the line of the word before it.
function append(line, chip) {
  const before = line.lastElementChild;
  if (!before || !chip.classList.contains("close")) line.append(chip);
  else if (before.classList.contains("glued")) before.append(chip);
  else {
    const both = el("span", { class: "glued" });
    before.replaceWith(both);
    both.append(before, chip);
  }
}

function grouped(bundle, parts) {
  const groups = [];
  for (const span of bundle.spans) {
    if (!parts.includes(span.part)) continue;
    const last = groups[groups.length - 1];
    const same = last && last.part === span.part && (span.part !== "rationale" || last.name === span.name);
    const group = same ? last : { part: span.part, name: span.name, positions: [] };
    if (!same) groups.push(group);
    for (let position = span.start; position < span.stop; position++) group.positions.push(position);
  }
  return groups.sort((a, b) => PARTS.indexOf(a.part) - PARTS.indexOf(b.part));
}

export function queryOf(bundle, token) {
  if (token.index < 0) return `at.${token.position}`;
  if (token.part === "action") return `action.${token.name}`;
  if (token.part === "rationale") return `word.${bundle.words.indexOf(token)}`;
  return null;
}

function actionText(bundle, token) {
  const found = bundle.distributions.filter((entry) => entry.token === token.index);
  // A token that says several dimensions at once has words of its own.
  return found.length === 1 ? `${token.name} ${signed(found[0].chosen)}` : clean(token.text);
}

export function signed(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
}

function clean(text) {
  return text.replaceAll("▁", " ").trim() || "␣";
}

function describe(bundle, chip, value, reverse) {
  if (reverse) return chip.token ? `“${chip.text}” puts ${percent(value)} of its row on the picked patch` : chip.text;
  const probability = chip.token?.index >= 0 ? bundle.logprobs[chip.token.index] : null;
  const sure = probability === null || probability === undefined ? "" : ` · generated with probability ${percent(Math.exp(probability))}`;
  return `“${chip.text}” receives ${percent(value)} of the query's row${sure}`;
}
