// Text in a PNG: iTXt chunks (PNG specification, 11.3.3.4), uncompressed, before the first chunk of pixels.

const HEADER = 8 + 25; // signature and IHDR

export function withTexts(png, texts) {
  const chunks = Object.entries(texts).map(([name, text]) => chunk("iTXt", [...new TextEncoder().encode(name), 0, 0, 0, 0, 0], new TextEncoder().encode(text)));
  return new Blob([png.subarray(0, HEADER), ...chunks, png.subarray(HEADER)]);
}

function chunk(type, head, body) {
  const out = new Uint8Array(12 + head.length + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, head.length + body.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(head, 8);
  out.set(body, 8 + head.length);
  view.setUint32(out.length - 4, crc(out.subarray(4, out.length - 4)));
  return out;
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}
