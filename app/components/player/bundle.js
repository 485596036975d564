// One captured step as the server sends it: 4 bytes header length (little endian), JSON header, then raw arrays.
// Rows stay float16; only the rows that are looked at are turned into numbers.

const HALF = buildHalfTable();

function buildHalfTable() {
  const out = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    out[bits] = bits & 0x8000 ? -size : size;
  }
  return out;
}

// { header, array }: the JSON, and a function that turns one of its { offset, shape } into the numbers there.
function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length;
  const array = ({ offset, shape }, Type) =>
    new Type(buffer, start + offset, shape.reduce((product, size) => product * size, 1));
  return { header, array };
}

// { box, nearest, farthest, metres, rows, columns }: what the policy takes the distance of every place to be.
export function decodeDepth(buffer) {
  const { header, array } = unpacked(buffer);
  const [rows, columns] = header.metres.shape;
  return { ...header, metres: array(header.metres, Float32Array), rows, columns, bytes: buffer.byteLength };
}

export function decodeBundle(buffer) {
  const { header, array } = unpacked(buffer);
  const distributions = header.distributions.map((entry) => ({
    ...entry, values: array(entry.values, Float32Array), probabilities: array(entry.probabilities, Float32Array),
  }));
  const weights = header.weights ? array(header.weights, Uint16Array) : null;
  // Layers are chosen by their place among the captured ones; only some of those may be here.
  const place = new Map(header.captured.map((number, index) => [number, index]));
  const local = new Map(header.layers.map((number, index) => [place.get(number), index]));
  return { ...header, distributions, weights, local, shape: header.weights ? header.weights.shape : null, bytes: buffer.byteLength };
}

// Mean over `queries` (indices on the Q axis) of the rows [L, A, K]; the queries' own order does not matter.
export function gatherRows(bundle, queries) {
  const [layers, heads, count, positions] = bundle.shape;
  const out = new Float32Array(layers * heads * positions);
  const weight = 1 / queries.length;
  for (let lane = 0; lane < layers * heads; lane++) {
    for (const query of queries) {
      const at = (lane * count + query) * positions;
      const to = lane * positions;
      for (let k = 0; k < positions; k++) out[to + k] += weight * HALF[bundle.weights[at + k]];
    }
  }
  return { rows: out, layers, heads, positions };
}
