// What an annotator has said so far about one item: plain values, and what is still missing before it can be sent.

export const OVERALL = [["accept", "Accept"], ["correct", "Correct"], ["reject", "Reject"], ["unsure", "Unsure"]];
const GOOD = "correct";

export function empty() {
  return { parts: {}, overall: "", comment: "", seconds: 0 };
}

// A stored draft or judgement as content; whatever does not fit the item is left out.
export function contentOf(item, stored) {
  const content = { ...empty(), ...(stored ?? {}) };
  const given = Array.isArray(content.parts) ? Object.fromEntries(content.parts.map((one) => [one.part, one])) : content.parts ?? {};
  content.parts = {};
  for (const { name, verdicts, errors } of item.parts) {
    const said = Object.hasOwn(given, name) ? given[name] : null;
    if (!said) continue;
    content.parts[name] = {
      verdict: verdicts.includes(said.verdict) ? said.verdict : "",
      errors: errors.filter((kind) => said.errors?.includes(kind)),
      correction: typeof said.correction === "string" ? said.correction : null,
    };
  }
  content.overall = OVERALL.some(([name]) => name === content.overall) ? content.overall : "";
  content.comment = typeof content.comment === "string" ? content.comment : "";
  content.seconds = Number.isFinite(content.seconds) ? content.seconds : 0;
  return content;
}

export function partOf(content, name) {
  return content.parts[name] ?? { verdict: "", errors: [], correction: null };
}

export function withPart(content, name, change) {
  return { ...content, parts: { ...content.parts, [name]: { ...partOf(content, name), ...change } } };
}

export function isCorrected(item, content) {
  return item.parts.some(({ name, text }) => { const { correction } = partOf(content, name); return correction !== null && correction !== text; });
}

export function unjudged(item, content) {
  return item.parts.filter(({ name }) => !partOf(content, name).verdict).map(({ name }) => name);
}

// All parts that were not judged are right, and so is the whole.
export function allGood(item, content) {
  let next = content;
  for (const name of unjudged(item, content)) {
    const part = item.parts.find((one) => one.name === name);
    next = withPart(next, name, { verdict: part.verdicts.includes(GOOD) ? GOOD : part.verdicts[0] });
  }
  return { ...next, overall: isCorrected(item, next) ? "correct" : "accept" };
}

// Why it cannot be sent yet: {message, part}; null when it can.
export function missing(item, content, { reason }) {
  const left = unjudged(item, content);
  const title = (name) => item.parts.find((part) => part.name === name).title;
  if (!content.overall) return { message: "Say first: accept, correct, reject or unsure" };
  if (left.length && ["accept", "correct"].includes(content.overall)) return { message: `${title(left[0])} is not judged yet`, part: left[0] };
  const corrected = isCorrected(item, content);
  if (content.overall === "correct" && !corrected) return { message: "Correct a part first, or choose another verdict" };
  if (content.overall === "accept" && corrected) return { message: "A part is corrected: choose “correct”, or undo the correction" };
  if (reason && !content.comment.trim()) return { message: "Give the reason in the comment", comment: true };
  return null;
}

// As the server takes it.
export function judgement(item, content) {
  const parts = item.parts.filter(({ name }) => partOf(content, name).verdict).map(({ name, text }) => {
    const { verdict, errors, correction } = partOf(content, name);
    return { part: name, verdict, errors, correction: correction === text ? null : correction };
  });
  return { parts, overall: content.overall, comment: content.comment };
}
