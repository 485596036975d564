// Whose rows are looked at: "action", "action.<name>", "rationale", "rationale.<part>", "word.<n>" of what the policy
// wrote, or "at.<position>" of what it read, where a record holds only such rows.

// The names of models.types.RATIONALE_TITLES (tests/browser compares the two), and words that no marker opened.
const PART_TITLES = {
  observation: "Observation", situation: "Situation analysis", spatial: "Spatial reasoning", planning: "Task planning",
  task: "Task", plan: "Plan", "visible objects": "Visible objects", "subtask reasoning": "Subtask reasoning", subtask: "Subtask",
  "move reasoning": "Move reasoning", move: "Move", "gripper position": "Gripper position", text: "Text",
};

// A part of a data set may be called "constructor": only the table's own names count.
export function partTitle(name) {
  return Object.hasOwn(PART_TITLES, name) ? PART_TITLES[name] : name;
}

// The decoded step with its tokens sorted out once: what the policy wrote, its words, and who can be asked, by position.
export function withTokens(bundle) {
  const generated = generatedTokens(bundle);
  const words = generated.filter((token) => token.part === "rationale");
  const asking = generated.length ? generated : promptTokens(bundle);
  const continuous = generated.some((token) => token.part === "action") && !bundle.logprobs.length;
  return { ...bundle, generated, words, asking, continuous, byPosition: new Map(asking.map((token) => [token.position, token])) };
}

function spanAt(bundle, position) {
  return bundle.spans.find(({ start, stop }) => position >= start && position < stop);
}

// What was written, and where it stands: { index, position, query, part, name, names, text }; `names` are also those of
// the action dimensions that a token says, or whose position it is ("step 3 x").
function generatedTokens(bundle) {
  const start = bundle.tokens.length - bundle.written;
  return bundle.produced.flatMap((index, query) => {
    if (index < 0) return [];
    const position = start + index;
    const { part, name } = spanAt(bundle, position);
    const names = [name, name.replace(/^step \d+ /, ""), ...bundle.distributions.filter(({ token }) => token === index).map((entry) => entry.name)];
    return [{ index, position, query, part, name, names, text: bundle.tokens[position] }];
  });
}

// Of a record without rows of what was written: the model's own reading, or a vision tower's.
function promptTokens(bundle) {
  return bundle.queries.map((position, query) => {
    const { part, name } = spanAt(bundle, position);
    return { index: -1, position, query, part, name, names: [name], text: bundle.tokens[position] };
  });
}

export function isVision(bundle) {
  return bundle.stream.startsWith("vision");
}

function actionTokens(bundle) {
  return bundle.generated.filter((token) => token.part === "action");
}

// The tokens of a query, or the sentence that says why there are none. `patch`: a sequence position, or -1.
export function resolveQuery(bundle, query, patch = -1) {
  if (!bundle.generated.length) return promptQuery(bundle, query, patch);
  const [kind, ...rest] = query.split(".");
  const name = rest.join(".");
  const { words } = bundle;
  if (kind === "action") {
    const tokens = actionTokens(bundle);
    return !tokens.length && !name && words.length ? { tokens: words, why: "" } : chosen(tokens, name, "action");
  }
  if (!words.length) return { tokens: [], why: "This checkpoint generated no rationale here: choose an action." };
  if (kind === "rationale") return chosen(words, name, "rationale part");
  const word = words[Number(name)];
  if (kind === "word" && word) return { tokens: [word], why: "" };
  return { tokens: [], why: `The text of this step has ${words.length} words; word ${Number(name) + 1} does not exist.` };
}

// A vision tower is asked about a picked patch, a language model about a word of the prompt; else the mean.
function promptQuery(bundle, query, patch) {
  const [kind, name] = query.split(".");
  const at = isVision(bundle) ? patch : kind === "at" ? Number(name) : -1;
  const one = at >= 0 ? bundle.byPosition.get(at) : null;
  if (one) return { tokens: [one], why: "" };
  const wanted = isVision(bundle) ? "image" : "instruction";
  const tokens = bundle.asking.filter(({ part }) => part === wanted);
  const found = tokens.length ? tokens : bundle.asking;
  return { tokens: found, why: found.length ? "" : "No row was kept of what the model read at this step." };
}

function chosen(tokens, name, kind) {
  const found = name ? tokens.filter(({ names }) => names.includes(name)) : tokens;
  return { tokens: found, why: found.length ? "" : `No row was kept for the ${kind} “${name || "any"}” at this step.` };
}

export function describeQuery(bundle, query, patch = -1) {
  const [kind, ...rest] = query.split(".");
  const name = rest.join(".");
  if (bundle && !bundle.generated.length) return describePrompt(bundle, query, patch);
  if (kind === "action" && bundle && !name && !actionTokens(bundle).length) return "whole text (mean)";
  if (kind === "action") return name ? `action ${name}` : `all action ${bundle?.continuous ? "steps" : "tokens"} (mean)`;
  if (kind === "rationale") return name ? `${partTitle(name)} (mean)` : "whole rationale (mean)";
  const word = bundle ? bundle.words[Number(name)] : null;
  return word ? `word ${Number(name) + 1} “${word.text.trim()}”` : `word ${Number(name) + 1}`;
}

function describePrompt(bundle, query, patch) {
  const { tokens } = promptQuery(bundle, query, patch);
  if (tokens.length === 1) return isVision(bundle) ? `patch ${tokens[0].text}` : `prompt word “${tokens[0].text.trim()}”`;
  return isVision(bundle) ? "all patches (mean; pick one to ask it)" : "the instruction (mean)";
}
