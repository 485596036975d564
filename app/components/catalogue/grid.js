// The catalogue's grid: cards with first frames. Every text comes from data sets and is set as text, never as markup.

const PLACEHOLDER = "no picture";

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// A link keeps what else the address says (checkpoint, camera ...), so that it opens in a tab of its own as well.
function addressOf(card) {
  const parameters = new URLSearchParams(window.location.search);
  for (const name of ["step", "camera", "tile", "patch", "p"]) parameters.delete(name);
  parameters.set("page", "trajectory");
  parameters.set("dataset", card.dataset);
  parameters.set("episode", card.id);
  return `?${parameters}`;
}

function thumbnail(card, base) {
  const parameters = new URLSearchParams({ dataset: card.dataset, episode: card.id, v: card.version });
  const image = element("img", { src: `${base}/thumbnail?${parameters}`, loading: "lazy", decoding: "async", alt: "" });
  const frame = element("div", { className: "picture" }, image);
  image.addEventListener("error", () => frame.replaceChildren(element("span", { className: "none" }, PLACEHOLDER)));
  return frame;
}

function outcome(success) {
  if (success === true) return element("span", { className: "good" }, "✓ succeeded");
  if (success === false) return element("span", { className: "bad" }, "✗ failed");
  return element("span", { className: "quiet" }, "outcome not recorded");
}

function tick(card, send) {
  const box = element("input", { type: "checkbox", checked: card.ticked });
  box.setAttribute("aria-label", `Select ${card.id}`);
  box.addEventListener("change", () => send("ticked", { dataset: card.dataset, id: card.id, on: box.checked }));
  return element("label", { className: "tick", title: "Select for export" }, box);
}

function usable(card, data, send) {
  const link = element("a", { className: "open", href: addressOf(card) }, thumbnail(card, data.base),
    element("p", { className: "instruction", title: card.instruction }, card.instruction || "(no instruction)"));
  link.addEventListener("click", (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    send("opened", { dataset: card.dataset, id: card.id });
  });
  const facts = element("p", { className: "facts" }, outcome(card.success), element("span", {}, card.facts));
  if (card.rationale) facts.append(element("span", { className: "badge" }, "rationale"));
  const place = element("p", { className: "place", title: `${card.id}\n${card.dataset}` }, card.place);
  return element("article", { className: "card" }, link, tick(card, send), facts, place);
}

function broken(card) {
  const head = element("p", { className: "instruction", title: card.path }, card.id);
  const reason = element("p", { className: "reason" }, card.reason);
  const place = element("p", { className: "place", title: card.dataset }, card.place);
  return element("article", { className: "card broken" }, element("p", { className: "bad" }, "cannot be used"), head, reason, place);
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector("[data-catalogue]");
  const cards = data.cards.map((card) => (card.reason ? broken(card) : usable(card, data, setTriggerValue)));
  root.replaceChildren(...cards);
}
