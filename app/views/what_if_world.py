"""The consequence of a change in a simulated world: how often the policy succeeds with and without it."""

from __future__ import annotations

import importlib.util
import itertools

import streamlit as st

from analysis.evaluation.closed_loop import Rollout
from analysis.evaluation.world import WORLDS
from analysis.interventions.in_world import Consequence, scenes_of, share
from analysis.interventions.question import Intervention
from analysis.pictures.chart import table_chart
from analysis.pictures.provenance import Model, Provenance
from analysis.workspace import ACTED_OUT
from app import session
from app.components import chart_export
from app.components.task_status import task_status
from app.tasks import Task, TaskState, tasks_of
from app.views.what_if_result import table
from app.what_if import Place, lead_to, led_to
from models.errors import UserError

MOST = 100  # scenes
COUNTED = (
    ("succeeds", lambda one: one.success),
    ("lifts the right thing", lambda one: one.grasped),
    ("lifts a wrong thing", lambda one: one.wrong),
)


def closed_loop(place: Place, edits: tuple[Intervention, ...]) -> None:
    """Asks for rollouts, shows their state, then what came of them."""
    st.markdown("##### Where that leads")
    if (why := _why_not(place)) is not None:
        st.caption(f":material/block: {why}")
        return
    worlds = list(WORLDS)
    link = session.acted_out(worlds)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        index = worlds.index(link[0]) if link else 0
        world = st.selectbox("Simulated world", worlds, index=index, key="what_if_world", width=200) or worlds[0]
        count = int(
            st.number_input("Scenes", 1, MOST, min(link[1], MOST) if link else 3, key="what_if_scenes", width=130)
        )
        asked = st.button("Act it out", help="With and without the change at every step.")
    scenes = scenes_of(place.library.episode(place.asked.dataset, place.asked.episode).meta, world, count)
    if asked:
        session.act_out(world, count)
        lead_to(place, scenes, edits)
    found = led_to(place, scenes, edits) if asked or link == (world, count) else None
    if isinstance(found, Task) and task_status(tasks_of(place.library), found).state is TaskState.DONE:
        found = led_to(place, scenes, edits)
    if isinstance(found, Consequence):
        _draw(place, edits, found)
        st.caption(f"Kept as `{place.result(scenes, edits).stem}`; the address of this page brings it back.")
    elif found is None:
        missing = "" if link is None or asked else "What this link asks for was not acted out in this workspace. "
        st.caption(
            f"{missing}Scene {scenes.seeds[0]} is this episode's own; more scenes of the same task follow it. "
            "The rollouts are kept as episodes."
        )


def _why_not(place: Place) -> str | None:
    meta = place.library.episode(place.asked.dataset, place.asked.episode).meta
    try:
        scenes_of(meta, "", 1)
    except UserError as error:
        return f"{str(error)[0].upper()}{str(error)[1:]}."
    if importlib.util.find_spec("mujoco") is None:
        return "The simulator is not installed here: pip install -r requirements-samples.txt."
    return None


def _draw(place: Place, edits: tuple[Intervention, ...], found: Consequence) -> None:
    rows = []
    for label, what in COUNTED:
        cells = [label]
        for rollouts in (found.before, found.after):
            count, of, (low, high) = share(rollouts, what)
            cells.append(f"{count} of {of} ({low:.0%} to {high:.0%})")
        rows.append(cells)
    rows.append(["mean steps", *(f"{_steps(rollouts):.1f}" for rollouts in (found.before, found.after))])
    titles = ["", "as it is", "with the change"]
    st.html(table(titles, rows))
    about = Provenance(
        f"Where a change leads in the world {found.scenes.world}",
        f"Scenes {', '.join(map(str, found.scenes.seeds))}; episodes {', '.join(itertools.chain(*found.episodes))}",
        "Rollouts with and without the change at every step; 95 % Wilson intervals",
        f"{len(found.before)} scenes; changed at {found.changed} of {found.steps} steps",
        (Model.of(place.spec),),
        {"changes": [each.describe() for each in edits]},
    )
    columns = {title or "what": [row[at] for row in rows] for at, title in enumerate(titles)}
    chart_export.save(table_chart(columns, about), "what_if_world_table")
    rest = "; at the others there was nothing to change" if found.changed < found.steps else ""
    st.caption(f"95 % Wilson intervals. The change was made at {found.changed} of {found.steps} steps{rest}.")
    dataset = next((one.name for one in place.library.workspace.datasets() if one.path.name == ACTED_OUT), None)
    for seed, ids in zip(found.scenes.seeds, found.episodes, strict=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Scene {seed}")
            for label, id in zip(("as it is", "with the change"), ids, strict=True):
                st.button(
                    f"Open {label}",
                    key=f"open_{id}",
                    disabled=dataset is None,
                    on_click=session.look_at,
                    args=(dataset or "", id),
                )


def _steps(rollouts: tuple[Rollout, ...]) -> float:
    return sum(one.steps for one in rollouts) / len(rollouts)
