"""The overview's form in which a data set's names, units, frame rate and normalisation key are corrected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from analysis.catalogue import Filter
from analysis.dataset_description import ACTION_KINDS, ACTIONS_ARE, EMPTY, HIGHEST_FPS, DatasetDescription, described
from analysis.joined_source import StoredFacts
from analysis.types import EpisodeMeta
from app import session
from app.index_updates import updates_of
from app.library import Library
from app.plain_text import plain
from models.errors import UserError
from models.types import CheckpointSpec

WAIT_SECONDS = 3.0  # for the list to take the corrections over


def description(library: Library, dataset: str) -> None:
    """Draws what is known and the form."""
    st.markdown("##### Description")
    facts = _facts(library, dataset)
    if facts is None:
        st.info("No episode can be opened, so there is nothing to describe yet.")
        return
    path = library.workspace.description_path(dataset)
    now = EMPTY
    try:
        now = library.workspace.description(dataset)
    except UserError as error:
        st.error(f"{error}. It is not applied; correct it by hand, or save this form, which replaces it.")
    meta = now.applied(facts.meta, facts.actions, facts.states)
    st.markdown(_summary(meta, facts))
    state = "remembered" if path.exists() else "nothing is corrected so far"
    with st.expander(f"Correct it ({state})", icon=":material/edit:"):
        st.caption(f"Kept in {plain(str(path))}, for the player, the command line, exports and the index.")
        _form(library, dataset, facts, now)


def _facts(library: Library, dataset: str) -> StoredFacts | None:
    """What the files say about the first usable episode."""
    page = library.workspace.index.query(Filter(datasets=(dataset,), broken=False), size=1)
    for one in page.entries:
        if isinstance(one.entry, EpisodeMeta):
            try:
                return library.workspace.source(dataset).as_stored(one.entry.id)
            except UserError as error:
                st.warning(str(error))
    return None


def _summary(meta: EpisodeMeta, facts: StoredFacts) -> str:
    key = meta.extra.get("action_stats", "")
    lines = {
        "Robot": meta.robot or "unknown",
        "Frame rate": f"{meta.fps:g} frames a second" + (f" ({note})" if (note := meta.extra.get("fps")) else ""),
        "Cameras": ", ".join(meta.cameras),
        "Actions": _listed(meta.action_names, meta.action_units, facts.actions),
        "States": _listed(meta.state_names, meta.state_units, facts.states) if facts.states else "none",
        "Normalisation key": key or "not named",
        "Actions are": meta.extra.get(ACTIONS_ARE, "not said"),
    }
    return "  \n".join(f"**{label}** {plain(text)}" for label, text in lines.items())


def _listed(names: Sequence[str], units: Sequence[str], count: int) -> str:
    if len(names) != count:
        return f"{count} dimensions without names"
    if len(units) != count:
        return ", ".join(names)
    return ", ".join(f"{name} [{unit}]" if unit else name for name, unit in zip(names, units, strict=True))


def _form(library: Library, dataset: str, facts: StoredFacts, now: DatasetDescription) -> None:
    meta = now.applied(facts.meta, facts.actions, facts.states)
    with st.form(f"description_{dataset}", border=False):
        left, middle, right, last = st.columns(4)
        fps = left.number_input("Frames a second", 0.001, HIGHEST_FPS, value=float(meta.fps), format="%g")
        robot = middle.text_input("Robot", value=meta.robot)
        keys = sorted({now.action_stats, *_known_keys(library)} - {""})
        key = right.selectbox(
            "Normalisation key",
            keys,
            index=keys.index(now.action_stats) if now.action_stats else None,
            accept_new_options=True,
            placeholder="None",
            help="This data set's name in the action statistics of checkpoints; chosen there by itself.",
        )
        kind = last.selectbox(
            "Actions are",
            ACTION_KINDS,
            index=ACTION_KINDS.index(said) if (said := meta.extra.get(ACTIONS_ARE, "")) in ACTION_KINDS else None,
            placeholder="Not said",
            help="Relative: increments. Absolute: targets, such as poses or joint positions.",
        )
        one, two, three = st.columns(3)
        with one:
            actions = _editor(
                dataset, "Actions", facts.actions, facts.meta.action_names, meta.action_names, meta.action_units
            )
        with two:
            states = _editor(
                dataset, "States", facts.states, facts.meta.state_names, meta.state_names, meta.state_units
            )
        with three:
            cameras = _cameras(dataset, facts.meta.cameras, meta.cameras)
        save, reset = st.columns([1, 1])
        saved = save.form_submit_button("Save", type="primary")
        if reset.form_submit_button("Forget all corrections") and _keep(library, dataset, EMPTY):
            st.rerun()
    if not saved:
        return
    given = {"fps": fps, "robot": robot, "action_stats": key or "", ACTIONS_ARE: kind or "", "cameras": cameras}
    for kind, rows in (("action", actions), ("state", states)):
        given |= {f"{kind}_names": [row[0] for row in rows], f"{kind}_units": [row[1] for row in rows]}
    try:
        wanted = _changed(given, facts)
        if misfits := wanted.misfits(facts.meta, facts.actions, facts.states):
            raise UserError("; ".join(misfits.values()))
    except UserError as error:
        st.error(str(error))
        return
    if _keep(library, dataset, wanted):
        st.rerun()


def _changed(given: dict[str, Any], facts: StoredFacts) -> DatasetDescription:
    """Only what differs from the files. Raises UserError for what cannot be."""
    meta = facts.meta
    stored: dict[str, Any] = {"fps": float(meta.fps), "robot": meta.robot, "action_stats": "", "cameras": {}}
    stored[ACTIONS_ARE] = meta.extra.get(ACTIONS_ARE, "")
    for name in ("action_names", "action_units", "state_names", "state_units"):
        own = list(getattr(meta, name))
        stored[name] = own if own else [""] * len(given[name])
    given["cameras"] = {name: here for name, here in given["cameras"].items() if name != here}
    return described({name: value for name, value in given.items() if value != stored[name]}, "This form")


def _keep(library: Library, dataset: str, wanted: DatasetDescription) -> bool:
    try:
        library.workspace.describe(dataset, wanted)
    except UserError as error:
        st.error(str(error))
        return False
    library.forget_dataset(dataset)
    updates = updates_of(library)
    updates.wait(WAIT_SECONDS)
    updates.look(now=True)
    updates.wait(WAIT_SECONDS)
    return True


def _editor(
    dataset: str, title: str, count: int, stored: Sequence[str], names: Sequence[str], units: Sequence[str]
) -> list[tuple[str, str]]:
    """A table of name and unit for each dimension, as it stands after editing."""
    if not count:
        return []
    rows = [
        {
            "in the files": stored[k] if len(stored) == count else f"{k}",
            "name": names[k] if len(names) == count else "",
            "unit": units[k] if len(units) == count else "",
        }
        for k in range(count)
    ]
    st.markdown(f"**{title}**")
    edited = st.data_editor(rows, hide_index=True, disabled=["in the files"], key=f"edit_{title}_{dataset}")
    return [(str(row["name"] or "").strip(), str(row["unit"] or "").strip()) for row in edited]


def _cameras(dataset: str, stored: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    rows = [{"in the files": own, "name": name} for own, name in zip(stored, names, strict=True)]
    st.markdown("**Cameras**")
    edited = st.data_editor(rows, hide_index=True, disabled=["in the files"], key=f"edit_cameras_{dataset}")
    return {str(row["in the files"]): str(row["name"] or "").strip() for row in edited}


def _known_keys(library: Library) -> set[str]:
    """Keys that the workspace's checkpoints have statistics for."""
    entries = session.checkpoints(str(library.workspace.path))
    return {key for entry in entries if isinstance(entry, CheckpointSpec) for key in entry.action_stats}
