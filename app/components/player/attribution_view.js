// An attribution map in words: its numbers, its caption, what can be said of a patch.

export function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1000 || size < 0.001 ? size.toExponential(digits - 1) : size.toPrecision(digits + 1);
  return `${value < 0 ? "−" : ""}${text}`;
}

export function signedNumber(value) {
  return value > 0 ? `+${number(value)}` : number(value);
}

const DEFAULT_HIDDEN = [null, ""];

// Everything that it would take to make the picture again, and how far it can be trusted.
export function describeMap(map, query) {
  const settings = Object.entries(map.settings).filter(([, value]) => !DEFAULT_HIDDEN.includes(value)).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  const what = map.scalar === "action" ? "action" : "log-probability";
  const value = map.notes.value === undefined ? "" : ` (${number(map.notes.value, 3)})`;
  return [`${map.title} of the ${what}${value}, query: ${query}`, settings.join(", "), ...map.doubts, `${map.forwards} forwards`].filter(Boolean).join(" · ");
}

export function describeScore(map, position) {
  const error = map.error ? ` ± ${number(map.error[position])}` : "";
  return `score ${map.signed ? signedNumber(map.scores[position]) : number(map.scores[position])}${error}`;
}

// Signed maps are coloured around zero, others from zero up.
export function mapLegend(map, colours, top) {
  return map.signed ? { map: "difference", low: number(-top), high: signedNumber(top) } : { map: colours, low: "0", high: number(top) };
}
