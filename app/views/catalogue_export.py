"""The catalogue's export: what, as which format, under which name; how far it is, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.export import Exported
from analysis.workspace import Workspace
from app import library, session
from app.components.task_status import task_status
from app.episode_list import EpisodeList
from app.exports import TITLES, export_folder, export_work, suggested_name
from app.tasks import TaskState, tasks_of
from models.errors import UserError

SKIPPED_SHOWN = 200


def export(workspace: Workspace, shown: EpisodeList, total: int) -> None:
    """Draws the button; what opens asks as what and where to."""
    ticked = session.ticked()
    words = f"Export {len(ticked):,} ticked" if ticked else f"Export all {total:,}"
    with st.popover(words, width="stretch", disabled=not (ticked or total), icon=":material/download:"):
        _form(workspace, shown, total, ticked)


def export_status() -> None:
    """Draws how the last export of this session stands, until it is put away."""
    key = session.export_key()
    if key is None:
        return
    tasks = tasks_of(library.current())
    task = tasks.get(key)
    with st.container(border=True):
        if task is None:
            st.info("This export is no longer remembered; look in the folder `exports` of the workspace.")
        elif (task := task_status(tasks, task)).state is TaskState.DONE:
            _result(task.result)
        if task is None or not task.state.busy:
            st.button("Close", key="export_close", on_click=session.begin_export)


def _form(workspace: Workspace, shown: EpisodeList, total: int, ticked: Sequence[tuple[str, str]]) -> None:
    what = "ticked" if ticked else "all"
    if ticked:
        words = {"ticked": f"The {len(ticked):,} ticked", "all": f"All {total:,} that the filters let through"}
        what = st.radio("Which", list(words), format_func=lambda each: words[each], key="export_what")
    else:
        st.write(f"All {total:,} entries that the filters let through; tick cards to export some of them only.")
    format = st.radio("Format", list(TITLES), format_func=lambda each: TITLES[each], key="export_format")
    video = format == "lerobot" and st.checkbox("Frames as video, which loses a little of them", key="export_video")
    field = session.filled("export_name", suggested_name())
    name = st.text_input("Folder, under `exports` in the workspace", key=field)
    if ticked:
        st.button("Untick all", key="untick", on_click=session.untick_all)
    if not st.button("Export", key="export_start", type="primary"):
        return
    try:
        folder = export_folder(workspace, name.strip())
    except UserError as error:
        st.error(str(error))
        return
    wanted: EpisodeList | Sequence[tuple[str, str]] = shown if what == "all" else ticked
    key = ("export", str(folder))
    work = export_work(workspace, wanted, folder, format, video)
    tasks_of(library.current()).submit(key, work, title=f"Export to {folder.name}")
    session.begin_export(key)
    session.fill_anew(field)
    st.rerun()


def _result(done: Sequence[Exported]) -> None:
    for one in done:
        if one.episodes:
            st.success(f"{one.episodes:,} episodes, {one.steps:,} steps as {TITLES[one.format]}")
            st.code(str(one.path), language=None)
    skipped = [entry for one in done for entry in one.skipped]
    if not skipped:
        return
    st.warning(f"{len(skipped):,} left out:")
    with st.container(height=260):
        for entry in skipped[:SKIPPED_SHOWN]:
            st.text(f"{entry.path}: {entry.reason}")
        if len(skipped) > SKIPPED_SHOWN:
            st.caption(f"and {len(skipped) - SKIPPED_SHOWN:,} more")
