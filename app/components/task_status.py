"""One task on a page: a bar that fills, a button that cancels; the page is drawn anew when the task has ended."""

from __future__ import annotations

import streamlit as st

from app.tasks import Task, Tasks, TaskState

EVERY_SECONDS = 0.5


def task_status(tasks: Tasks, task: Task) -> Task:
    """Draws a task that is under way, or why it failed; nothing of one that is done. Returns how it stands.

    A page submits, calls this, and draws ``result`` where the state is DONE: when the task ends, the page runs again.
    """
    task = tasks.find(task.id) or task
    if task.state.busy:
        _watched(tasks, task.id)
    elif task.state is TaskState.FAILED:
        st.error(task.message, icon=":material/error:")
    elif task.state is TaskState.CANCELLED:
        st.info("This was cancelled.")
    return task


@st.fragment(run_every=EVERY_SECONDS)
def _watched(tasks: Tasks, id: str) -> None:
    task = tasks.find(id)
    if task is None or not task.state.busy:
        st.rerun()
        return
    bar, button = st.columns([5, 1], vertical_alignment="center")
    bar.progress(min(1.0, task.done / task.total) if task.total else 0.0, text=_line(task))
    if button.button("Cancel", key=f"cancel_{id}", width="stretch"):
        tasks.cancel(id)
        st.rerun()


def _line(task: Task) -> str:
    what = {TaskState.QUEUED: "waits for its turn", TaskState.LOADING: "opens the checkpoint"}.get(task.state, "")
    if not what:
        what = f"{task.done} of {task.total}" if task.total else "begins"
    return f"{task.title}: {what}" if task.title else what.capitalize()
