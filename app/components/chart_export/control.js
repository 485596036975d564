// One small button below a chart or table; pressed, it offers the formats. Files come from the server, but for pictures
// of a Plotly chart, which the browser draws.

const FORMATS = [["png", "PNG"], ["svg", "SVG"], ["csv", "CSV"], ["npz", "NPZ"]];
const ARROW = "M8 1v8.2l3-3 1 1L8 11.3 4 7.2l1-1 3 3V1h0zM2.5 13h11v1.5h-11z";

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector("[data-chart-export]");
  if (root.dataset.key === data.key) return;
  root.dataset.key = data.key;
  const note = element("span", { role: "status" });
  const formats = element("span", { class: "formats", role: "group", "aria-label": `Save “${data.title}” as`, hidden: "" },
    ...FORMATS.map(([format, text]) => press(text, { "data-format": format }, () => run(formats, note, data, format))));
  const open = press("", { class: "open", title: "Save as PNG, SVG, CSV or NPZ", "aria-label": `Save “${data.title}”`, "aria-expanded": "false" }, () => {
    formats.hidden = !formats.hidden;
    open.setAttribute("aria-expanded", String(!formats.hidden));
    note.textContent = "";
    if (!formats.hidden) formats.firstChild.focus();
  });
  open.append(arrow());
  root.replaceChildren(note, formats, open);
}

async function run(formats, note, data, format) {
  for (const button of formats.children) button.disabled = true;
  note.textContent = "";
  try {
    const drawn = data.plotly && (format === "png" || format === "svg");
    save(await (drawn ? picture(data, format) : fetched(data, format)), `${data.name}.${format}`);
  } catch (error) {
    note.textContent = error.message;
  }
  for (const button of formats.children) button.disabled = false;
}

async function fetched({ base, key }, format) {
  const response = await fetch(`${base}/chart?${new URLSearchParams({ key, format })}`).catch(() => null);
  if (!response) throw new Error("The server does not answer.");
  if (response.ok) return response.blob();
  throw new Error((await response.json().catch(() => null))?.error ?? `The server answered ${response.status}.`);
}

async function picture(data, format) {
  const [{ captioned }, said] = await Promise.all([
    import(new URL(`${data.modules}/picture.js`, document.baseURI).href), fetched(data, "figure").then((blob) => blob.text()),
  ]);
  return captioned(JSON.parse(said), format, data.plotly);
}

function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function press(text, attributes, onclick) {
  const button = element("button", { type: "button", ...attributes });
  button.textContent = text;
  button.addEventListener("click", onclick);
  return button;
}

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function arrow() {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 16 16", width: "14", height: "14", "aria-hidden": "true" })) svg.setAttribute(name, value);
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ARROW);
  path.setAttribute("fill", "currentColor");
  svg.append(path);
  return svg;
}
