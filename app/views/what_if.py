"""What if the image, the words or the attention were different: one step, asked again."""

from __future__ import annotations

import streamlit as st

from analysis.interventions.effect import Effect
from analysis.interventions.question import Intervention
from app import library, session
from app.components.task_status import task_status
from app.components.what_if_frame import what_if_frames
from app.plain_text import plain
from app.run_records import Asked
from app.runs import AUTOMATIC_PARAMETERS
from app.selection import camera_names
from app.sidebar import Chosen
from app.tasks import tasks_of
from app.views.what_if_attention import attention_editor
from app.views.what_if_editors import fill_editor, instruction_editor, rationale_editor
from app.views.what_if_frames import shown_frames
from app.views.what_if_result import draw_effect
from app.views.what_if_world import closed_loop
from app.what_if import Place, Seen, change, look, told
from app.what_if_edits import hiding, without
from models.errors import UserError


def show(chosen: Chosen) -> None:
    """Draws the page."""
    place = _place(chosen)
    if place is None:
        return
    try:
        edits = session.edits()
    except UserError as error:
        st.error(str(error))
        st.button("Start without changes", on_click=session.keep_edits, args=((),))
        return
    left, right = st.columns([5, 6], gap="medium")
    with left:
        seen = _seen(place, chosen)
        if seen is not None:
            edits = _with_picked(place, seen, edits)
        _frames(place, seen, edits)
    with right:
        if seen is not None:
            _editors(place, seen, edits)
    _outcome(place, seen, edits)


def _place(chosen: Chosen) -> Place | None:
    picked, meta = chosen.selection, chosen.meta
    if meta is None or picked.dataset is None:
        return None
    if chosen.first is None:
        st.info("Asking a policy takes a checkpoint that can be used. Name its folder in the `workspace.toml`.")
        return None
    if len(chosen.first.action_stats) > 1 and picked.action_stats is None:
        st.info("Choose in the side bar whose statistics scale the actions.")
        return None
    step = session.step(meta.length)
    st.markdown(f"#### {plain(meta.instruction) or '(no instruction)'}")
    if meta.length > 1:
        st.slider("Step", 0, meta.length - 1, key="what_if_step")
    session.keep_step(step)
    cameras = camera_names(picked.cameras)
    asked = Asked(
        picked.dataset, meta.id, chosen.first.digest, picked.action_stats, family=picked.family, cameras=cameras
    )
    return Place(library.current(), asked, step)


def _seen(place: Place, chosen: Chosen) -> Seen | None:
    """The policy's own answer, asked for at once where the policy is small."""
    spec = place.spec
    started = f"what_if_go_{spec.digest}"
    if spec.parameters >= AUTOMATIC_PARAMETERS and not session.value(started, False):
        st.info(f"{plain(spec.name)} has {spec.parameters / 1e9:.1f} billion parameters: it runs when you say so.")
        st.toggle("Ask this checkpoint", key=started)
        return None
    task = task_status(tasks_of(place.library), look(place))
    return task.result if isinstance(task.result, Seen) else None


def _with_picked(place: Place, seen: Seen, edits: tuple[Intervention, ...]) -> tuple[Intervention, ...]:
    """With the patch hidden that was picked in the player."""
    picked = session.picked_patch()
    if picked is None or edits:
        return edits
    named = {source: camera for camera, source in place.cameras.pairs}
    camera = named.get(picked[0], place.cameras.pairs[0][0])
    hidden = hiding(seen.layout, camera, picked[1])
    if hidden is not None:
        session.keep_edits([hidden])
    return session.edits()


def _frames(place: Place, seen: Seen | None, edits: tuple[Intervention, ...]) -> None:
    meta = place.library.episode(place.asked.dataset, place.asked.episode).meta
    what_if_frames(place.asked.dataset, meta.id, meta.digest, place.step, shown_frames(place, seen, edits))
    fill_editor(edits)


def _editors(place: Place, seen: Seen, edits: tuple[Intervention, ...]) -> None:
    word, said = session.picked_word(), seen.answer.text
    titles = ["Instruction", "Rationale", "Attention"]
    instruction, rationale, attention = st.tabs(titles, default=titles[bool(word and word in said)])
    with instruction:
        instruction_editor(place, seen, edits)
    with rationale:
        rationale_editor(place, seen, edits)
    with attention:
        attention_editor(place, seen)


def _outcome(place: Place, seen: Seen | None, edits: tuple[Intervention, ...]) -> None:
    st.markdown("##### What is changed")
    if not edits:
        st.caption("Nothing yet. Hide something on the frame, or change the words or the attention.")
        return
    for index, each in enumerate(edits):
        said, button = st.columns([12, 1], vertical_alignment="center")
        said.markdown(f"{index + 1}. {plain(each.describe())}")
        button.button(
            "✕", key=f"drop_{index}", help="Take this change back", on_click=_drop, args=(index,), type="tertiary"
        )
    if len(edits) > 1:
        st.button("Take all back", on_click=session.keep_edits, args=((),), type="tertiary")
    if seen is None:
        return
    task = task_status(tasks_of(place.library), change(place, edits))
    if isinstance(task.result, Effect):
        draw_effect(task.result, place.step, told(place, task.result))
        closed_loop(place, edits)


def _drop(index: int) -> None:
    session.keep_edits(without(session.edits(), index))
