"""The review desk as a Streamlit component: it loads its modules and then talks to the review routes by itself."""

from __future__ import annotations

import streamlit as st

from analysis.people import Person
from analysis.review import Project
from app.player_files import BASE, REVIEW

HTML = '<div class="desk" data-review-root><p class="loading">Opening the review…</p></div>'
LOADER = """
let modules = null;

export default function (component) {
  const { data, parentElement } = component;
  const address = new URL(data.address, document.baseURI).href;
  for (const file of modules ? [] : data.files) {
    const link = document.createElement("link");
    document.head.append(Object.assign(link, { rel: "modulepreload", href: `${address}/${file}` }));
  }
  modules ??= import(`${address}/main.js`);
  modules.then(({ mount }) => mount(parentElement, data)).catch((error) => {
    parentElement.querySelector("[data-review-root]").textContent = `The review could not be loaded: ${error.message}`;
  });
  return () => { modules.then(({ unmount }) => unmount(parentElement)); };
}
"""


def review_desk(project: Project, person: Person, desk: str, key: str, remember: str | None = None) -> None:
    """Draws the desk. ``desk``: one of `app.review_desks.DESKS`; ``remember``: cookie in which the browser keeps the
    person's name."""
    component = st.components.v2.component("vla_lens_review", html=HTML, css=REVIEW.style, js=LOADER)
    component(
        key=key,
        data={
            "base": BASE,
            "address": REVIEW.address,
            "files": sorted(REVIEW.files),
            "person": person.name,
            "project": {"id": project.id, "version": project.version, "name": project.settings.name},
            "desk": desk,
            "remember": remember,
        },
    )
