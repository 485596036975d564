// "What if here": the what-if page at this episode, step, checkpoint, camera, and the patch or word that is picked.

import { el } from "./dom.js";

const FRESH = ["edits", "hide", "word", "world", "scenes"]; // the what-if page's own parameters begin anew

export class WhatIfLink {
  constructor(player, pane) {
    this.player = player;
    this.pane = pane; // as the component was handed it: checkpoint, and how it is read
    this.node = el("a", { class: "what-if-link", text: "What if here" });
    this.node.hidden = !pane.checkpoint;
  }

  // `bundle`: the step of this pane, or null.
  show(bundle) {
    const search = this.search(bundle);
    if (this.node.getAttribute("href") !== search) this.node.setAttribute("href", search);
    const { patch } = this.player.view;
    this.node.title = patch >= 0 ? "Ask again with the picked patch hidden" : "Ask again with something hidden, reworded or knocked out";
  }

  search(bundle) {
    const { config, episode, view } = this.player;
    const { checkpoint, action_stats: stats, family, cameras } = this.pane;
    const params = new URLSearchParams(window.location.search);
    for (const name of FRESH) params.delete(name);
    const chosen = {
      page: "what-if", dataset: config.dataset, episode: episode.id, step: view.step, camera: view.camera, checkpoint, action_stats: stats,
      family, cameras: Array.isArray(cameras) ? cameras.map(encodeURIComponent).join(",") : cameras,
      hide: view.patch >= 0 ? view.patch : null, word: pickedWord(bundle, view.query),
    };
    for (const [name, value] of Object.entries(chosen)) {
      if (value === null || value === undefined || value === "") params.delete(name);
      else params.set(name, String(value));
    }
    return `?${params}`;
  }
}

// The text of the word that the query asks about; null where it asks about something else.
function pickedWord(bundle, query) {
  const [kind, number] = query.split(".");
  const text = kind === "word" ? bundle?.words[Number(number)]?.text : kind === "at" ? bundle?.tokens[Number(number)] : null;
  return text?.replaceAll("▁", " ").trim().slice(0, 80) || null;
}
