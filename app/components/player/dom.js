// Elements from values. Text always enters as text nodes, never as markup: instructions come from data sets.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) setProperty(node, name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function setProperty(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "class") node.className = value;
  else if (name === "text") node.textContent = value;
  else if (name === "style") Object.assign(node.style, value);
  else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else node.setAttribute(name, value === true ? "" : value);
}

// An icon as SVG: `shapes` are path data on a 16 x 16 grid, filled in the text's colour.
export function icon(...shapes) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 16 16", width: "14", height: "14", "aria-hidden": "true" })) svg.setAttribute(name, value);
  for (const d of shapes) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d);
    path.setAttribute("fill", "currentColor");
    svg.append(path);
  }
  return svg;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A canvas whose backing store follows its CSS size and the screen's pixel ratio; returns the context in CSS pixels.
export function sizedContext(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

export function segmented(label, options, onPick) {
  const group = el("div", { class: "segmented", role: "radiogroup", "aria-label": label });
  const buttons = new Map();
  for (const [value, text, title] of options) {
    const button = el("button", {
      type: "button", role: "radio", title, text, "data-value": value, onclick: () => onPick(value),
    });
    buttons.set(value, button);
    group.append(button);
  }
  const select = (current) => {
    for (const [value, button] of buttons) button.setAttribute("aria-checked", String(value === current));
  };
  return { node: group, select };
}

export function slider(label, { min, max, step }, format, onInput) {
  const output = el("output");
  const input = el("input", {
    type: "range", min, max, step, "aria-label": label, oninput: () => onInput(Number(input.value)),
  });
  const node = el("label", { class: "slider" }, el("span", { text: label }), input, output);
  const set = (value, limits = {}) => {
    if (limits.max !== undefined) input.max = limits.max;
    input.value = value;
    setText(output, format(value));
  };
  return { node, set };
}

export function choice(label, options, onPick) {
  const select = el("select", { "aria-label": label, onchange: () => onPick(select.value) });
  for (const [value, text] of options) select.append(el("option", { value, text }));
  const node = el("label", { class: "choice" }, el("span", { text: label }), select);
  return { node, set: (value) => { select.value = value; }, select };
}

export function toggle(label, title, onToggle) {
  const input = el("input", { type: "checkbox", onchange: () => onToggle(input.checked) });
  const node = el("label", { class: "toggle", title }, input, el("span", { text: label }));
  return { node, input, set: (value) => { input.checked = value; } };
}
