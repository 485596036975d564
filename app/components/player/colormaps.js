// Colour maps that stay readable with colour blindness: values in [0, 1] -> RGB. Stops are matplotlib's, evenly spaced.

const STOPS = {
  viridis: ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
  cividis: ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"],
  magma: ["#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"],
  inferno: ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"],
  // Signed differences: blue below zero, near white at zero, orange-brown above (ColorBrewer PuOr turned, colour-blind safe).
  difference: ["#2d004b", "#542788", "#8073ac", "#b2abd2", "#d8daeb", "#f7f7f7", "#fee0b6", "#fdb863", "#e08214", "#b35806",
    "#7f3b08"],
};

export const SEQUENTIAL = ["viridis", "cividis", "magma", "inferno"];

const SIZE = 256;
const tables = new Map();

function table(name, opaque) {
  const key = `${name}${opaque ? " opaque" : ""}`;
  if (!tables.has(key)) tables.set(key, build(STOPS[name], name, opaque));
  return tables.get(key);
}

// RGBA packed for a Uint32 view of the pixels (little endian, as every browser's machine is). Opacity follows the value:
// what is near zero lets the frame through, unless all are to be `opaque`.
function build(stops, name, opaque) {
  const rgb = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const out = new Uint32Array(SIZE);
  for (let i = 0; i < SIZE; i++) {
    const value = i / (SIZE - 1);
    const place = value * (rgb.length - 1);
    const low = Math.min(rgb.length - 2, Math.floor(place));
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(rgb[low][c] + (rgb[low + 1][c] - rgb[low][c]) * (place - low)));
    const alpha = opaque ? 1 : name === "difference" ? Math.min(1, 0.1 + 2.2 * Math.abs(value - 0.5)) : value ** 0.6;
    out[i] = ((Math.round(255 * alpha) << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  return out;
}

// Writes the colours of `values` (already scaled to [0, 1]) into `pixels`, a Uint32Array.
export function paint(name, values, pixels, opaque = false) {
  const colours = table(name, opaque);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    pixels[i] = colours[value >= 1 ? SIZE - 1 : value > 0 ? (value * (SIZE - 1) + 0.5) | 0 : 0];
  }
}

export function gradient(name, turned = false) {
  return `linear-gradient(to ${turned ? "left" : "right"}, ${STOPS[name].join(", ")})`;
}
