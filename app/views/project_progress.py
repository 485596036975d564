"""How far a project is, and each of its annotators."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from analysis.people import Person
from analysis.pictures.provenance import Provenance
from analysis.review import AnnotatorProgress, Project, ReviewStore
from app.components import chart_export


def show(store: ReviewStore, project: Project, person: Person) -> None:
    """Counts, a bar, and a row for each annotator."""
    told = store.progress(project.id)
    if not told.items:
        st.info("This project has no items yet. Add rationales under Settings, or import them under Files.")
        return
    share = told.reviews / told.wanted if told.wanted else 0.0
    st.progress(min(1.0, share), text=f"{told.reviews:,} of {told.wanted:,} judgements · {share:.0%}")
    counts = {
        "items": told.items,
        "begun": told.begun,
        "done": told.done,
        "held now": told.leased,
        "open conflicts": told.conflicts,
        "settled": told.adjudicated,
        "gold": told.gold,
    }
    for column, (name, value) in zip(st.columns(len(counts)), counts.items(), strict=True):
        column.metric(name, f"{value:,}")
    if not told.annotators:
        st.info("Nobody has judged anything yet. Annotators find their items on the page Review.")
        return
    st.markdown("##### Annotators")
    about = _about(project, "Progress of the annotators", f"{told.reviews:,} of {told.wanted:,} judgements")
    chart_export.table([_row(one) for one in told.annotators], about, "annotators")


def _about(project: Project, title: str, samples: str) -> Provenance:
    said = f"Review project {project.settings.name} (id {project.id}, version {project.version})"
    return Provenance(title, said, samples=samples)


def _row(one: AnnotatorProgress) -> dict[str, object]:
    return {
        "annotator": one.annotator,
        "judged": one.reviews,
        "held now": one.leased,
        "drafts": one.drafts,
        "accept": one.accepted,
        "correct": one.corrected,
        "reject": one.rejected,
        "unsure": one.unsure,
        "median seconds": None if one.seconds is None else round(one.seconds, 1),
        "first": _time(one.first),
        "last": _time(one.last),
    }


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def gold(store: ReviewStore, project: Project, person: Person) -> None:
    """The answers that annotators are checked against; each can be taken back."""
    known = store.gold(project.id)
    st.caption("Gold items have a known answer. Annotators get them among the others and are compared with it.")
    if not known:
        return
    items = {one.id: one for one in store.items(project.id) if one.id in known}
    with st.expander(f"{len(known)} gold answers"):
        rows = [
            {
                "item": items[id].number,
                "episode": items[id].source.episode,
                "steps": f"{items[id].source.rationale.start}–{items[id].source.rationale.stop - 1}",
                "overall": answer.judgement.overall if answer.judgement else "",
                "by": answer.author,
                "time": _time(answer.time),
            }
            for id, answer in known.items()
            if id in items
        ]
        chart_export.table(rows, _about(project, "Gold answers", f"{len(rows)} items"), "gold_table")
        numbers = {items[id].number: id for id in known if id in items}
        picked = st.selectbox("Item that is gold no longer", sorted(numbers), index=None, key="gold_no_longer")
        if picked is not None and st.button("Take the answer back", key="take_gold_back"):
            id = numbers[picked]
            store.set_gold(id, None, person.name, known[id].version)
            st.rerun()
