// A Plotly figure as an SVG or PNG with its caption: drawn below it, and kept in the file as text.

import { withTexts } from "./png_text.js";

const [MARGIN, TITLE, TEXT, LINE, SCALE] = [20, 16, 13, 19, 2]; // pixels
const FAMILY = "Open Sans, DejaVu Sans, Segoe UI, Arial, sans-serif"; // Plotly's, then what is likely there
const SPACE = "http://www.w3.org/2000/svg";
let loading = null;

// `about`: { caption: [string], facts }; the first paragraph is the title. `figure`: { data, layout }.
export async function captioned({ about, figure }, format, plotly) {
  const svg = composed(await drawn(figure, plotly), about);
  const text = new XMLSerializer().serializeToString(svg);
  const blob = new Blob([text], { type: "image/svg+xml" });
  if (format === "svg") return blob;
  const bytes = new Uint8Array(await (await raster(blob, svg)).arrayBuffer());
  return new Blob([withTexts(bytes, { Description: about.caption.join("\n"), "vla-lens": JSON.stringify(about.facts) })], { type: "image/png" });
}

async function drawn(figure, address) {
  const Plotly = await library(address);
  const { width, height = 450 } = figure.layout;
  const url = await Plotly.toImage(figure, { format: "svg", width, height });
  const text = decodeURIComponent(url.slice(url.indexOf(",") + 1));
  return new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
}

// Plotly's code, 4.7 MB, once somebody wants a picture.
function library(address) {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI).href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      reject(new Error("Plotly's code could not be loaded."));
    };
    document.head.append(script);
  });
  return loading;
}

// Texts enter as text nodes: captions hold words of data sets.
function composed(chart, { caption, facts }) {
  const width = Number(chart.getAttribute("width")) + 2 * MARGIN;
  const height = Number(chart.getAttribute("height"));
  const [title, ...rest] = caption;
  const heads = wrapped([title], width - 2 * MARGIN, TITLE);
  const lines = wrapped(rest, width - 2 * MARGIN, TEXT);
  const top = MARGIN + heads.length * (TITLE + 6);
  const below = top + height + 8;
  const whole = below + lines.length * LINE + MARGIN;
  const svg = node("svg", { width, height: whole, viewBox: `0 0 ${width} ${whole}`, "font-family": FAMILY, role: "img" });
  svg.append(node("title", {}, title), node("desc", {}, caption.join(" · ")), node("metadata", {}, JSON.stringify(facts)),
    node("rect", { width, height: whole, fill: "#ffffff" }));
  heads.forEach((line, k) => svg.append(node("text", { x: MARGIN, y: MARGIN + TITLE + k * (TITLE + 6), "font-size": TITLE, fill: "#111418" }, line)));
  chart.setAttribute("x", MARGIN);
  chart.setAttribute("y", top);
  svg.append(document.importNode(chart, true));
  lines.forEach((line, k) => svg.append(node("text", { x: MARGIN, y: below + TEXT + k * LINE, "font-size": TEXT, fill: "#5a626c" }, line)));
  return svg;
}

function wrapped(paragraphs, width, size) {
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  pen.font = `${size}px ${FAMILY}`;
  return paragraphs.flatMap((paragraph) => {
    const lines = [];
    let line = "";
    for (const word of pieces(pen, printable(paragraph).split(" "), width)) {
      const longer = line ? `${line} ${word}` : word;
      if (line && pen.measureText(longer).width > width) {
        lines.push(line);
        line = word;
      } else line = longer;
    }
    return [...lines, line];
  });
}

// Words that do not fit a line alone are broken.
function pieces(pen, words, width) {
  return words.flatMap((word) => {
    const out = [""];
    for (const sign of word) {
      if (out[out.length - 1] && pen.measureText(out[out.length - 1] + sign).width > width) out.push("");
      out[out.length - 1] += sign;
    }
    return out;
  });
}

// XML has no words for control characters.
function printable(text) {
  return text.replace(/[\p{Cc}\p{Cs}\uFFFE\uFFFF]/gu, " ");
}

function node(name, attributes, text = "") {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = printable(text);
  return made;
}

async function raster(blob, svg) {
  const [width, height] = ["width", "height"].map((name) => Number(svg.getAttribute(name)) * SCALE);
  const address = URL.createObjectURL(blob);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(image, 0, 0, width, height);
    return await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  } finally {
    URL.revokeObjectURL(address);
  }
}
