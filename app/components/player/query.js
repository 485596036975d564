// Which generated tokens ask: "action", "action.<name>", "rationale", "rationale.<part>" or "word.<n>".

export const PART_TITLES = {
  observation: "Observation", situation: "Situation analysis", spatial: "Spatial reasoning", planning: "Task planning", text: "Rationale",
};

// The decoded step with its generated tokens sorted out once: all, the rationale's words, and by position.
export function withTokens(bundle) {
  const generated = generatedTokens(bundle);
  const words = generated.filter((token) => token.part === "rationale");
  return { ...bundle, generated, words, byPosition: new Map(generated.map((token) => [token.position, token])) };
}

// Generated tokens of a captured step with where they stand: { index, position, query, part, name, text }.
function generatedTokens(bundle) {
  return bundle.produced.flatMap((index, query) => {
    if (index < 0) return [];
    const position = bundle.queries[query] + 1;
    const span = bundle.spans.find(({ start, stop }) => position >= start && position < stop);
    return [{ index, position, query, part: span.part, name: span.name, text: bundle.tokens[position] }];
  });
}

function actionTokens(bundle) {
  return bundle.generated.filter((token) => token.part === "action");
}

// The tokens of a query, or the sentence that says why there are none.
export function resolveQuery(bundle, query) {
  const [kind, ...rest] = query.split(".");
  const name = rest.join(".");
  if (kind === "action") return chosen(actionTokens(bundle), name, "action dimension");
  const words = bundle.words;
  if (!words.length) return { tokens: [], why: "This checkpoint generated no rationale here: choose an action dimension." };
  if (kind === "rationale") return chosen(words, name, "rationale part");
  const word = words[Number(name)];
  if (kind === "word" && word) return { tokens: [word], why: "" };
  return { tokens: [], why: `The rationale of this step has ${words.length} words; word ${Number(name) + 1} does not exist.` };
}

function chosen(tokens, name, kind) {
  const found = name ? tokens.filter((token) => token.name === name) : tokens;
  return { tokens: found, why: found.length ? "" : `No row was kept for the ${kind} “${name || "any"}” at this step.` };
}

export function describeQuery(bundle, query) {
  const [kind, ...rest] = query.split(".");
  const name = rest.join(".");
  if (kind === "action") return name ? `action ${name}` : "all action tokens (mean)";
  if (kind === "rationale") return name ? `${PART_TITLES[name] ?? name} (mean)` : "whole rationale (mean)";
  const word = bundle ? bundle.words[Number(name)] : null;
  return word ? `word ${Number(name) + 1} “${word.text.trim()}”` : `word ${Number(name) + 1}`;
}
