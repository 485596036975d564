"""Is the explanation true? Verdicts and badges of one model, and the statistics of two."""

from __future__ import annotations

import streamlit as st

from analysis.attribution.registry import METHODS
from analysis.evidence.asked_map import MEAN, REDUCTIONS, AskedMap
from analysis.evidence.pair import judged
from analysis.evidence.probe import PROBES, QUICK
from analysis.types import EpisodeMeta
from app import library
from app.components.task_status import task_status
from app.evidence_asked import Asked, Model, drawn_on, episode_count, known, measuring, spread_episodes, to_do
from app.plain_text import plain
from app.sidebar import Chosen
from app.tasks import tasks_of
from app.views import evidence_boxes, evidence_pair, evidence_verdicts
from models.errors import UserError

USUAL_EPISODES = 24  # taken of a data set unless asked otherwise
COSTS = {  # what is measured at a step, and what it takes
    "action": "how far the action is from the recorded one",
    "attention": "shares of attention, grounding, heads that look at one place",
    "instruction": "five edits of the instruction, an answer each",
    "rationale": "edits of the rationale, seven answers, where one is written",
    "routes": "attention from the action to each part knocked out, an answer each",
    "lens": "every layer read as if it were the last",
    "significance": "ISS, 64 masked images",
    "faithfulness": "deletion and insertion curves, about 150 masked images",
}


def show(chosen: Chosen) -> None:
    """Draws the page. Nothing runs until it is asked for; what was measured before is shown at once."""
    if chosen.meta is None or chosen.selection.dataset is None:
        return
    picked = chosen.selection
    if chosen.first is None:
        st.info("Evidence is about a model. Name a checkpoint's folder in the workspace's `workspace.toml`.")
        return
    st.markdown("#### Is the explanation true?")
    st.caption(
        "A verdict is taken over an episode or a data set, never from one frame. It says what was tested, with n, a "
        "95 % interval and the rule that made it. It holds for what was measured here, not beyond."
    )
    asked = _settings(chosen)
    first = Model(chosen.first, picked.action_stats, picked.family, picked.cameras)
    second = None
    if chosen.second is not None:
        second = Model(chosen.second, picked.other_stats, picked.other_family, picked.other_cameras)
    names = ["One model", "Base against tuned"]
    part = st.segmented_control("Question", names, default=names[0], key="evidence_part", label_visibility="collapsed")
    if part == names[1]:
        evidence_pair.show(asked, first, second)
    else:
        _one(asked, first)


def _settings(chosen: Chosen) -> Asked:
    """Which episodes and steps, and what is measured at each."""
    dataset = chosen.selection.dataset
    assert dataset is not None and chosen.meta is not None
    about, count, steps, what = st.columns([1.3, 0.8, 0.8, 2.6], vertical_alignment="bottom")
    choices = ["This episode", "The data set"]
    whole = about.segmented_control("About", choices, default=choices[1], key="evidence_about") != choices[0]
    total = episode_count(library.current(), dataset)
    episodes: tuple[EpisodeMeta, ...] = (chosen.meta,)
    if whole and total > 1:
        usual = min(USUAL_EPISODES, total)
        asked = count.number_input(
            "Episodes", 1, total, usual, key=f"evidence_count_{dataset}", help="Evenly spread over the data set."
        )
        episodes = spread_episodes(library.current(), dataset, int(asked), total)
    each = steps.number_input("Steps of each", 1, 200, 2 if whole else 12, key=f"evidence_steps_{whole}")
    costs = "\n".join(f"- **{name}**: {text}" for name, text in COSTS.items())
    measures = what.multiselect("Measure", list(PROBES), list(QUICK), key="evidence_measures", help=costs)
    if not whole:
        evidence_boxes.offered(dataset, chosen.meta)
    here = library.current()
    drawn = {meta.id: boxes for meta in episodes if (boxes := drawn_on(here, dataset, meta)).keys}
    if whole and drawn:
        st.caption(f"Boxes that a person drew count in {len(drawn)} of these episodes.")
    map = _map() if "faithfulness" in measures else MEAN
    if map is None:
        measures = [name for name in measures if name != "faithfulness"]
    return Asked(dataset, episodes, int(each), tuple(measures), drawn, map or MEAN)


def _map() -> AskedMap | None:
    """The map that is tested for faithfulness; None, with a sentence, where it cannot be understood."""
    made, about = st.columns([3, 1.3], vertical_alignment="bottom")
    kinds = [f"attention:reduce={reduce}" for reduce in ("mean", *(each for each in REDUCTIONS if each != "mean"))]
    help = (
        "One of the list, or typed: METHOD:name=value;name=value, such as attention:reduce=head;layer=3;head=2 or "
        "iss:masks=64. A badge holds for exactly this map."
    )
    text = made.selectbox(
        "Map that is tested", [*kinds, *METHODS], key="evidence_map", accept_new_options=True, help=help
    )
    help = "As in the player: action, action.x, rationale, rationale.planning or word.3"
    query = about.text_input("About", "action", key="evidence_query", help=help)
    try:
        return AskedMap.parse(str(text), query.strip() or "action")
    except UserError as error:
        st.error(plain(str(error)))
        return None


def _one(asked: Asked, model: Model) -> None:
    here = library.current()
    if not asked.measures:
        st.info("Choose at least one thing to measure.")
        return
    tasks, key = tasks_of(here), asked.key(model)
    task = tasks.get(key)
    if task is not None:
        task_status(tasks, task)
    left = to_do(here, asked, model)
    if left and not (task is not None and task.state.busy):
        total = len(asked.episodes) * asked.steps
        said = f"{total - left} of about {total} steps are measured." if left < total else "Nothing is measured yet."
        st.write(said)
        if st.button(f"Measure {left} steps", type="primary", key="evidence_measure"):
            tasks.forget(key)
            tasks.submit(key, measuring(here, asked, (model,)), (model.choice,), f"Evidence for {model.spec.name}")
            st.rerun()
    measured = known(here, asked, model)
    if measured.steps:
        evidence_verdicts.show(judged(model.spec, measured, asked.map), asked, model.settings)
