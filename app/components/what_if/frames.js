// Frames whose patches, objects and boxes can be hidden. Values in, one trigger "changed" out; texts are set as text.

const SVG = "http://www.w3.org/2000/svg";
const pages = new WeakMap(); // parent element -> { mode: "patches" or "box", drawn: what is shown, as JSON; dragging; late: redraw after it }

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function rectangle([left, top, right, bottom], attributes) {
  return shape("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top), ...attributes });
}

function hatch(size) {
  const pattern = shape("pattern", { id: "what-if-hatch", width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(shape("rect", { width: size, height: size, fill: "#5a6472d9" }), shape("rect", { width: size / 4, height: size, fill: "#ffffffb0" }));
  const definitions = shape("defs", {});
  definitions.append(pattern);
  return definitions;
}

function place(frame, index) {
  const [left, top, right, bottom] = frame.grid;
  const wide = (right - left) / frame.columns, high = (bottom - top) / frame.rows;
  const row = Math.floor(index / frame.columns), column = index % frame.columns;
  return [left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high];
}

function point(svg, frame, event) {
  const bounds = svg.getBoundingClientRect();
  const x = ((event.clientX - bounds.left) / bounds.width) * frame.width;
  const y = ((event.clientY - bounds.top) / bounds.height) * frame.height;
  return [Math.min(Math.max(x, 0), frame.width), Math.min(Math.max(y, 0), frame.height)];
}

function patchAt(frame, [x, y]) {
  const [left, top, right, bottom] = frame.grid;
  const column = Math.floor(((x - left) / (right - left)) * frame.columns);
  const row = Math.floor(((y - top) / (bottom - top)) * frame.rows);
  const inside = column >= 0 && row >= 0 && column < frame.columns && row < frame.rows;
  return inside ? row * frame.columns + column : null;
}

// Dragging in the mode "patches" hides (or shows) every patch it passes; in the mode "box" it draws one.
function listen(svg, frame, page, send) {
  let drag = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const at = point(svg, frame, event);
    svg.setPointerCapture(event.pointerId);
    if (page.mode === "box" || !frame.rows) {
      drag = { from: at, drawn: svg.appendChild(rectangle([...at, ...at], { class: "drawn" })) };
    } else {
      const first = patchAt(frame, at);
      if (first === null) return;
      drag = { on: !frame.patches.includes(first), patches: new Set() };
      touch(first);
    }
    page.dragging = true;
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = point(svg, frame, event);
    if (drag.patches) {
      const patch = patchAt(frame, at);
      if (patch !== null) touch(patch);
      return;
    }
    for (const [name, value] of Object.entries(spanned(drag.from, at))) drag.drawn.setAttribute(name, value);
  });
  svg.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const at = point(svg, frame, event); // before the frame is drawn anew
    const done = stop();
    if (done.patches) send({ camera: frame.camera, patches: [...done.patches], on: done.on });
    else {
      const box = spanned(done.from, at);
      done.drawn.remove();
      if (box.width >= 3 && box.height >= 3) {
        const edges = [box.x, box.y, box.x + box.width, box.y + box.height].map((edge) => Math.round(edge));
        send({ boxes: [{ camera: frame.camera, box: edges }], on: true });
      }
    }
  });
  svg.addEventListener("pointercancel", () => {
    if (!drag) return;
    const { patches, drawn } = stop();
    drawn?.remove();
    for (const patch of patches ?? []) square(patch)?.classList.toggle("hidden", frame.patches.includes(patch));
  });
  function stop() {
    const done = drag;
    drag = null;
    page.dragging = false;
    page.late?.();
    return done;
  }
  function square(patch) {
    return svg.querySelector(`[data-patch="${patch}"]`);
  }
  function touch(patch) {
    drag.patches.add(patch);
    square(patch)?.classList.toggle("hidden", drag.on);
  }
}

function spanned([x1, y1], [x2, y2]) {
  return { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) };
}

function figure(frame, data, page, send) {
  const query = new URLSearchParams({ dataset: data.dataset, episode: data.episode, camera: frame.source, step: data.step, v: data.version });
  const image = element("img", { src: `${data.base}/frame?${query}`, alt: `${frame.source}, step ${data.step}`, draggable: "false", width: frame.width, height: frame.height });
  const svg = shape("svg", { viewBox: `0 0 ${frame.width} ${frame.height}`, preserveAspectRatio: "none", class: "grid" });
  svg.append(hatch(frame.width / 40));
  for (let patch = 0; patch < frame.rows * frame.columns; patch++) {
    const off = frame.patches.includes(patch);
    svg.append(rectangle(place(frame, patch), { class: off ? "patch hidden" : "patch", "data-patch": patch }));
  }
  for (const box of frame.boxes) svg.append(rectangle(box, { class: "thing off" }));
  for (const thing of frame.objects) {
    const outline = rectangle(thing.box, { class: thing.hidden ? "thing off" : "thing" });
    outline.append(Object.assign(shape("title", {}), { textContent: thing.name }));
    svg.append(outline);
  }
  listen(svg, frame, page, send);
  return element("figure", {}, element("div", { class: "stage" }, image, svg), element("figcaption", {}, frame.source === frame.camera ? frame.source : `${frame.source}, the policy's ${frame.camera}`));
}

function objects(frames, known, send) {
  const named = new Map();
  for (const { camera, objects } of frames) for (const { name, box, hidden, by_hand } of objects) {
    const thing = named.get(name) ?? { hidden: false, boxes: [] };
    thing.hidden ||= hidden;
    if (by_hand) thing.boxes.push({ camera, box });
    named.set(name, thing);
  }
  const none = known ? "The episode names no objects here; hide patches, or draw a box." : "";  // until the policy has answered
  if (!named.size) return element("span", { class: "quiet" }, none);
  const bar = element("div", { class: "bar" }, element("span", { class: "quiet" }, "Hide"));
  for (const [name, { hidden, boxes }] of named) {
    const button = element("button", { type: "button", "aria-pressed": String(hidden), ...(boxes.length && { title: "Drawn by hand on the Evidence page" }) }, name);
    button.addEventListener("click", () => send({ ...(boxes.length ? { boxes } : { object: name }), on: !hidden }));
    bar.append(button);
  }
  return bar;
}

function choice(page, draw) {
  const bar = element("div", { class: "bar", role: "radiogroup", "aria-label": "What dragging hides" });
  for (const [mode, label] of [["patches", "Patches"], ["box", "Box"]]) {
    const button = element("button", { type: "button", "aria-pressed": String(page.mode === mode) }, label);
    button.addEventListener("click", () => { page.mode = mode; draw(); });
    bar.append(button);
  }
  bar.append(element("span", { class: "quiet" }, page.mode === "box" ? "drag on the frame" : "click or drag on the frame"));
  return bar;
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector("[data-what-if]");
  if (!pages.has(parentElement)) pages.set(parentElement, { mode: "patches" });
  const page = pages.get(parentElement);
  page.send = (value) => setTriggerValue("changed", value);
  const send = (value) => page.send(value);
  const draw = () => {
    page.late = null;
    page.drawn = JSON.stringify(data);
    const patched = data.frames.some((frame) => frame.rows);
    const row = element("div", { class: "row" }, ...data.frames.map((frame) => figure(frame, data, page, send)));
    root.replaceChildren(...(patched ? [choice(page, draw)] : []), row, objects(data.frames, patched, send));
  };
  // The page runs anew whenever something is on its way: what is shown stays, and a drag is not taken from under the pointer.
  if (root.childElementCount && page.drawn === JSON.stringify(data)) page.late = null;
  else if (page.dragging && root.childElementCount) page.late = draw;
  else draw();
}
