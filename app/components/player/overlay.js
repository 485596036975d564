// Patch values -> small pictures laid over the frame, one for every run of image tokens of the shown camera. Values are
// interpolated before colouring, so that every colour on screen is a colour of the map.

import { paint } from "./colormaps.js";

function grids(bundle) {
  return bundle.spans.filter((span) => span.part === "image" && span.grid);
}

// The episode's cameras that the model read, in its order.
export function camerasRead(bundle) {
  const names = new Set(grids(bundle).map(({ grid }) => grid.camera));
  return [...names].filter((name) => bundle.known.includes(name));
}

// { parts: [{ grid, start, stop, offset }], why }: a camera's image tokens. `offset` counts patches over all its parts,
// so that every patch of the camera has one number; what covers more of the frame is drawn first. An image under a name
// that the episode does not know is taken for the shown one.
export function imageParts(bundle, camera) {
  const images = bundle.spans.filter((span) => span.part === "image");
  const drawable = grids(bundle);
  const own = drawable.filter(({ grid }) => grid.camera === camera || !bundle.known.includes(grid.camera));
  if (!own.length) return { parts: [], why: whyNone(images, drawable, camera) };
  let offset = 0;
  const parts = own.map(({ grid, start, stop }) => {
    const part = { grid, start, stop, offset };
    offset += stop - start;
    return part;
  });
  return { parts: parts.sort((a, b) => area(b.grid.box) - area(a.grid.box)), why: "" };
}

function whyNone(images, drawable, camera) {
  if (!images.length) return "The model read no image here.";
  if (!drawable.length) return "The image tokens of this model form no grid on the frame, so no map can be drawn; the shares still count them.";
  const others = [...new Set(drawable.map(({ grid }) => grid.camera))].join(", ");
  return `The model does not see the camera “${camera}”; it sees ${others}.`;
}

function area([x0, y0, x1, y1]) {
  return (x1 - x0) * (y1 - y0);
}

export function patchCount(parts) {
  return parts.reduce((count, { start, stop }) => count + stop - start, 0);
}

// The part that patch number `patch` lies in, with the patch's place there.
export function placeOf(parts, patch) {
  const part = parts.find(({ offset, start, stop }) => patch >= offset && patch < offset + stop - start);
  return part ? { part, index: patch - part.offset, position: part.start + patch - part.offset } : null;
}

export function partValues(part, row) {
  return row.subarray(part.start, part.stop);
}

// Over all images that the model read: colours of several cameras can be compared.
export function largestOnImages(bundle, row) {
  return Math.max(0, ...grids(bundle).map((span) => largest(partValues(span, row))));
}

export function largest(values) {
  let top = 0;
  for (const value of values) top = Math.max(top, Math.abs(value));
  return top;
}

// Sequential: value / scale in [0, 1], opacity rises with the value. Signed: -scale..scale around the middle.
export function overlayPicture(values, rows, columns, { scale, map, smooth, signed }) {
  const factor = smooth ? Math.max(1, Math.min(12, Math.floor(320 / Math.max(rows, columns)))) : 1;
  const grid = smooth ? bilinear(values, rows, columns, factor) : Float32Array.from(values);
  const unit = scale > 0 ? scale : 1;
  for (let i = 0; i < grid.length; i++) grid[i] = signed ? 0.5 + grid[i] / unit / 2 : grid[i] / unit;
  return coloured(grid, rows * factor, columns * factor, signed ? "difference" : map);
}

// Metres: near is the bright end of the map, everything equally opaque.
export function depthPicture(metres, rows, columns, { nearest, farthest, map }) {
  const unit = farthest > nearest ? farthest - nearest : 1;
  return coloured(metres.map((value) => (farthest - value) / unit), rows, columns, map, true);
}

function coloured(grid, rows, columns, map, opaque = false) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  paint(map, grid, new Uint32Array(image.data.buffer), opaque);
  context.putImageData(image, 0, 0);
  return canvas;
}

function bilinear(values, rows, columns, factor) {
  const width = columns * factor;
  const out = new Float32Array(width * rows * factor);
  for (let y = 0; y < rows * factor; y++) {
    const v = Math.min(rows - 1, Math.max(0, (y + 0.5) / factor - 0.5));
    const top = Math.min(rows - 1, Math.floor(v));
    const below = Math.min(rows - 1, top + 1);
    for (let x = 0; x < width; x++) {
      const u = Math.min(columns - 1, Math.max(0, (x + 0.5) / factor - 0.5));
      const left = Math.floor(u);
      const right = Math.min(columns - 1, left + 1);
      const upper = values[top * columns + left] * (1 - u + left) + values[top * columns + right] * (u - left);
      const lower = values[below * columns + left] * (1 - u + left) + values[below * columns + right] * (u - left);
      out[y * width + x] = upper * (1 - v + top) + lower * (v - top);
    }
  }
  return out;
}
