// What an annotator has said so far about one item: plain values, and what is still missing before it can be sent.

export const OVERALL = [["accept", "Accept"], ["correct", "Correct"], ["reject", "Reject"], ["unsure", "Unsure"]];
export const SETTLED = ["correct", "cannot tell"]; // verdicts after which there is nothing to add
const [GOOD] = SETTLED;

export function empty() {
  return { parts: {}, overall: "", comment: "", seconds: 0 };
}

// A stored draft or judgement as content; whatever does not fit the item is left out. Names of parts come from data sets:
// one may be called "constructor" or "__proto__", so only an object's own keys are looked at.
export function contentOf(item, stored) {
  const content = { ...empty(), ...(stored ?? {}) };
  const given = Array.isArray(content.parts) ? Object.fromEntries(content.parts.map((one) => [one.part, one])) : content.parts ?? {};
  const known = ({ name, verdicts, errors }) => [name, {
    verdict: verdicts.includes(given[name].verdict) ? given[name].verdict : "",
    errors: errors.filter((kind) => given[name].errors?.includes(kind)),
    correction: typeof given[name].correction === "string" ? given[name].correction : null,
  }];
  content.parts = Object.fromEntries(item.parts.filter(({ name }) => Object.hasOwn(given, name) && given[name]).map(known));
  content.overall = OVERALL.some(([name]) => name === content.overall) ? content.overall : "";
  content.comment = typeof content.comment === "string" ? content.comment : "";
  content.seconds = Number.isFinite(content.seconds) ? content.seconds : 0;
  return content;
}

export function partOf(content, name) {
  return Object.hasOwn(content.parts, name) ? content.parts[name] : { verdict: "", errors: [], correction: null };
}

export function withPart(content, name, change) {
  return { ...content, parts: { ...content.parts, [name]: { ...partOf(content, name), ...change } } };
}

function changes({ text }, { correction }) {
  return correction !== null && correction !== text;
}

export function isCorrected(item, content) {
  return item.parts.some((part) => changes(part, partOf(content, part.name)));
}

// What is wrong with a part on which nothing but that was said.
function fault(part, content) {
  const said = partOf(content, part.name);
  return changes(part, said) ? "a correction" : said.errors.length ? "a kind of error" : "";
}

// The verdict that an error or a correction stands for until another is chosen; "" where the labels do not tell which.
export function notRight({ verdicts }) {
  if (verdicts.includes("wrong")) return "wrong";
  return (verdicts.includes(GOOD) && verdicts.find((verdict) => !SETTLED.includes(verdict))) || "";
}

export function unjudged(item, content) {
  return item.parts.filter(({ name }) => !partOf(content, name).verdict).map(({ name }) => name);
}

// All parts on which nothing was said are right, where their labels have a word for it, and so is the whole.
export function allGood(item, content) {
  const blank = item.parts.filter((part) => !partOf(content, part.name).verdict && !fault(part, content) && part.verdicts.includes(GOOD));
  const next = blank.reduce((made, { name }) => withPart(made, name, { verdict: GOOD }), content);
  return { ...next, overall: isCorrected(item, next) ? "correct" : "accept" };
}

export function titleOf(item, name) {
  return item.parts.find((part) => part.name === name).title;
}

// Why it cannot be sent yet: {message, part}; null when it can.
export function missing(item, content, { reason }) {
  const left = unjudged(item, content);
  const blamed = item.parts.find((part) => left.includes(part.name) && fault(part, content));
  if (!content.overall) return { message: "Say first: accept, correct, reject or unsure" };
  if (blamed) return { message: `${blamed.title} has ${fault(blamed, content)} but no verdict: choose one`, part: blamed.name };
  if (left.length && ["accept", "correct"].includes(content.overall)) return { message: `${titleOf(item, left[0])} is not judged yet`, part: left[0] };
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
