"""The player as a Streamlit component: a few lines that load its modules from the server and hand it what to show."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import streamlit as st

from app.player_files import BASE, PLAYER

HTML = '<div data-lens-root><p class="loading">Opening the episode…</p></div>'
LOADER = """
let modules = null;

function preload(attributes) {
  document.head.append(Object.assign(document.createElement("link"), attributes));
}

export default function (component) {
  const { data, parentElement } = component;
  const address = new URL(data.address, document.baseURI).href;
  for (const file of modules ? [] : data.files) preload({ rel: "modulepreload", href: `${address}/${file}` });
  // The first thing that the modules will ask for is under way while they still load.
  const facts = `${data.base}/episode?${new URLSearchParams({ dataset: data.dataset, episode: data.episode })}`;
  if (!modules) preload({ rel: "preload", as: "fetch", crossOrigin: "anonymous", href: facts });
  modules ??= import(`${address}/main.js`);
  modules.then(({ mount }) => mount(parentElement, data)).catch((error) => {
    parentElement.querySelector("[data-lens-root]").textContent = `The player could not be loaded: ${error.message}`;
  });
  return () => { modules.then(({ unmount }) => unmount(parentElement)); };
}
"""


@dataclass(frozen=True)
class ShownCheckpoint:
    """A pane of the player."""

    checkpoint: str | None  # digest; None shows the episode alone
    name: str
    action_stats: str | None = None  # chosen data set whose statistics un-normalise its actions
    family: str | None = None  # as which it is read; None: as its files suggest
    cameras: str | None = None  # that it sees, as the URL writes them; None: as they fit by name


def player(dataset: str, episode: str, panes: tuple[ShownCheckpoint, ...], key: str) -> None:
    """Draws the player: one pane is the trajectory view, two are compared."""
    component = st.components.v2.component("vla_lens_player", html=HTML, css=PLAYER.style, js=LOADER)
    component(
        key=key,
        data={
            "base": BASE,
            "address": PLAYER.address,
            "files": sorted(PLAYER.files),
            "dataset": dataset,
            "episode": episode,
            "panes": [asdict(pane) for pane in panes],
        },
    )
