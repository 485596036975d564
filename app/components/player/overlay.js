// Patch values -> a small picture laid over the frame. Values are interpolated before colouring, so that every colour
// on screen is a colour of the map.

import { paint } from "./colormaps.js";

export function imageSpan(bundle, camera) {
  const spans = bundle.spans.filter((span) => span.part === "image" && span.grid);
  return spans.find((span) => span.grid.camera === camera) ?? (spans.length === 1 ? spans[0] : null);
}

export function patchValues(span, row) {
  return row.subarray(span.start, span.stop);
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
  const canvas = new OffscreenCanvas(columns * factor, rows * factor);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  paint(signed ? "difference" : map, grid, new Uint32Array(image.data.buffer));
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
