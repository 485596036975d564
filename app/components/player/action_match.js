// Which of a policy's action dimensions is which of the episode's, and what either has alone.

// `episode`, `policy`: { names, units }. Equal names match where units do not contradict; where no name is shared but
// there are as many, the order does.
export function matchActions(episode, policy) {
  const column = (name, at) => policy.names.findIndex((other, i) => other === name && agree(episode.units[at], policy.units[i]));
  const byName = episode.names.map(column);
  if (byName.some((at) => at >= 0)) return { columns: byName, inOrder: false };
  const inOrder = policy.names.length === episode.names.length && !policy.names.some((name) => episode.names.includes(name))
    && policy.names.every((_, i) => agree(episode.units[i], policy.units[i]));
  return { columns: inOrder ? episode.names.map((_, i) => i) : byName, inOrder: inOrder && policy.names.length > 0 };
}

function agree(one, other) {
  return !one || !other || one === other;
}

// Every dimension that is plotted: the episode's, then those that only a policy has.
// policies: [{ names, units } | null]; { name, unit, recorded: column or -1, columns: [column or -1 per policy] }
export function actionDimensions(episode, policies) {
  const matches = policies.map((policy) => (policy ? matchActions(episode, policy) : null));
  const dims = episode.names.map((name, at) => ({
    name, unit: episode.units[at] ?? "", recorded: at, columns: matches.map((match) => match?.columns[at] ?? -1),
  }));
  policies.forEach((policy, which) => policy?.names.forEach((name, at) => {
    if (matches[which].columns.includes(at)) return;
    const unit = policy.units[at] ?? "";
    const shared = dims.find((dim) => dim.recorded < 0 && dim.name === name && agree(dim.unit, unit));
    const dim = shared ?? { name, unit, recorded: -1, columns: policies.map(() => -1) };
    dim.columns[which] = at;
    if (!shared) dims.push(dim);
  }));
  return { dims, inOrder: matches.some((match) => match?.inOrder) };
}
