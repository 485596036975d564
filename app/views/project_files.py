"""What goes out of a review project as files, and what comes in."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.people import Person
from analysis.review import Project, ReviewStore
from analysis.review.final import RULES, Rule
from analysis.review.incoming import is_archive, read_rationales, read_stream
from analysis.review.outgoing import FORMATS, export_project
from app import library, review_session
from app.components.task_status import task_status
from app.exports import export_folder, suggested_name
from app.plain_text import plain
from app.tasks import Progress, TaskState, Work, task_id, tasks_of
from models.errors import UserError

TITLES = {"jsonl": "JSONL: everything", "csv": "CSV: a row a part", "hdf5": "HDF5 (ours)", "lerobot": "LeRobot v3.1"}
RULE_TITLES = {
    "all": "all reviews say so",
    "majority": "more than half say so",
    "adjudicated": "only where a lead decided",
}


def show(store: ReviewStore, project: Project, person: Person) -> None:
    """Export by rule, then import."""
    _outcome(store, project)
    _export(project)
    st.divider()
    _import(store, project, person)


def _outcome(store: ReviewStore, project: Project) -> None:
    st.markdown("##### Out")
    st.caption(
        "JSONL holds everything that was ever said, and can be imported again. CSV has a row for each part that was "
        "judged, of the judgements that count. HDF5 and LeRobot hold episodes with accepted and corrected rationales "
        "only, by the rule below, with verdict, corrections, agreement and who said it."
    )


def _export(project: Project) -> None:
    columns = st.columns([2, 2, 1, 2], vertical_alignment="bottom")
    format = columns[0].selectbox("Format", FORMATS, format_func=TITLES.__getitem__, key="out_format")
    rule = columns[1].selectbox("Accepted when", RULES, 1, format_func=RULE_TITLES.__getitem__, key="out_rule")
    least = columns[2].number_input("Reviews at least", 1, 100, 1, key="out_least")
    name = columns[3].text_input("Name", suggested_name(), key="out_name")
    opened, suffix = library.current(), f".{format}" if format in ("jsonl", "csv") else ""
    if st.button("Export", type="primary", key="out_go"):
        try:
            path = export_folder(opened.workspace, f"{name}{suffix}")
        except UserError as error:
            st.error(plain(str(error)))
            return
        started = review_session.started_export(str(path))
        work = _work(project.id, path, format, Rule(rule, int(least)))
        tasks_of(opened).submit(_key(project, started), work, title="Export")
    if started := review_session.started_export():
        _shown(_key(project, started))


def _key(project: Project, path: str) -> tuple[str, str, str]:
    return "review export", project.id, path


def _work(project: str, path: Path, format: str, rule: Rule) -> Work:
    workspace = library.current().workspace

    def work(_: tuple[Any, ...], progress: Progress, cancelled: Callable[[], bool]) -> Any:
        return export_project(workspace, project, path, format, rule, skip_broken=True, progress=progress)

    return work


def _shown(key: tuple[str, str, str]) -> None:
    tasks = tasks_of(library.current())
    found = tasks.find(task_id(key))
    if found is None:
        return
    told = task_status(tasks, found)
    if told.state is not TaskState.DONE:
        return
    written = told.result
    unit = {"jsonl": "lines", "csv": "rows"}.get(written.format, "episodes")
    outcomes = ", ".join(f"{count} {name}" for name, count in written.outcomes.items())
    st.success(f"{written.count:,} {unit} written. Items: {outcomes}.")
    st.code(str(written.path), language=None)
    if written.format in ("jsonl", "csv") and written.path.is_file():
        with written.path.open("rb") as stream:
            st.download_button("Download", stream, file_name=written.path.name, key="out_download")
    if written.skipped:
        with st.expander(f"{len(written.skipped)} episodes were left out"):
            for reason in written.skipped:
                st.text(reason)


def _import(store: ReviewStore, project: Project, person: Person) -> None:
    st.markdown("##### In")
    st.caption(
        "JSON lines: rationales (`episode`, `start`, `stop`, `parts`, optionally `dataset`, `author`), or an archive "
        "of earlier reviews as JSONL writes it. What is there already is not added twice."
    )
    file = st.file_uploader("JSONL file", type=["jsonl", "json", "txt"], key="in_file")
    if file is None or not st.button("Import into this project", key="in_go"):
        return
    try:
        lines = list(read_stream(BytesIO(file.getvalue())))
        if is_archive(lines):
            told = store.restore(lines, person.name, project.id)
            st.success(
                f"{told.items} items, {told.reviews} reviews, {told.adjudications} decisions and {told.gold} gold "
                "answers were added"
            )
            refused = told.refused
        else:
            sources = read_rationales(lines, library.current().workspace)
            added = store.add_items(project.id, sources, person.name)
            st.success(f"{added} of {len(sources)} rationales were added; the others are there already")
            refused = ()
    except UserError as error:
        st.error(plain(str(error)))
        return
    for reason in refused:
        st.text(reason)
