"""Base against tuned: every metric of each, what differs, the steps where, and layer by layer."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from analysis.evidence.charts import INTERVALS, PAIRED, layer_rows, metric_rows, provenance
from analysis.evidence.comparison import Comparison
from analysis.evidence.describe import interval, probability
from analysis.evidence.layers import LayerComparison
from analysis.evidence.pair import Pair, paired
from analysis.evidence.report import report_html
from analysis.pictures.provenance import Provenance
from app import library
from app.components import chart_export
from app.components.task_status import task_status
from app.evidence_asked import Asked, LookedAt, Model, known, measuring, to_do
from app.figures_evidence import differences_figure, layers_figure
from app.plain_text import plain
from app.tasks import tasks_of
from models.errors import UserError

DISTANCE = "Distance: mean over dimensions of the difference of the first actions, by their range"
LAYERS = f"Linear CKA and total variation of the attention rows over the prompt's positions; {INTERVALS}"
CORRECTIONS = ("holm", "benjamini-hochberg", "none")


def show(asked: Asked, first: Model, second: Model | None) -> None:
    """Draws the comparison of what is measured, and offers to measure the rest."""
    if second is None:
        st.info("Comparing needs two usable checkpoints. Name their folders in the workspace's `workspace.toml`.")
        return
    if not asked.measures:
        st.info("Choose at least one thing to measure.")
        return
    here = library.current()
    tasks, key = tasks_of(here), ("pair", *asked.key(first, second))
    task = tasks.get(key)
    if task is not None:
        task_status(tasks, task)
    left = to_do(here, asked, first) + to_do(here, asked, second)
    found = task.result if task is not None and isinstance(task.result, LookedAt) else None
    if (left or found is None) and not (task is not None and task.state.busy):
        said = f"Measure {left} steps, then the layers" if left else "Compare layer by layer, with pictures"
        if st.button(said, type="primary", key="evidence_measure_pair"):
            tasks.forget(key)
            title = f"{first.spec.name} against {second.spec.name}"
            tasks.submit(key, measuring(here, asked, (first, second)), (first.choice, second.choice), title)
            st.rerun()
    layers = found.layers if found else LayerComparison((), 0, "not asked for yet")
    correction = (
        st.segmented_control(
            "Corrected for the number of metrics by", CORRECTIONS, default="holm", key="evidence_correction"
        )
        or "holm"
    )
    one, two = (known(here, asked, model) for model in (first, second))
    opened = {
        f"{name} of the {which}": value
        for which, model in (("first", first), ("second", second))
        for name, value in model.settings.items()
    }
    settings = {**asked.settings, "correction": correction, **opened}
    try:
        pair = paired(first.spec, second.spec, one, two, layers, correction, settings)  # type: ignore[arg-type]
    except UserError as error:
        st.info(str(error))
        return
    _draw(pair, asked, found)


def _draw(pair: Pair, asked: Asked, found: LookedAt | None) -> None:
    compared = pair.comparison
    names = f"{plain(pair.first.spec.name)} (first) against {plain(pair.second.spec.name)} (second)"
    st.markdown(f"##### {names}")
    st.write(plain(compared.found))
    least = 2 / 2 ** min(compared.episodes, 60)
    floor = f"; with {compared.episodes} episodes it cannot be below {least:.2g}" if compared.tested else ""
    st.caption(
        f"{compared.episodes} episodes, {compared.paired} steps that both were measured on. Intervals: 95 % bootstrap "
        f"over episodes. {compared.tests}{floor}."
    )
    if any(row.difference.has_interval for row in compared.rows):
        figure, about = differences_figure(compared.rows), _about(pair, "Differences of every metric")
        chart_export.chart(figure, metric_rows(compared.rows), about, "evidence_differences")
    chart_export.table(
        [
            {
                "metric": row.metric.title,
                "unit": row.metric.unit,
                "first": interval(row.first),
                "second": interval(row.second),
                "second - first": interval(row.difference),
                "p": probability(row.p),
                "corrected p": probability(row.corrected),
                "says": row.says,
                "reads": row.metric.means,
            }
            for row in compared.rows
        ],
        _about(pair, "Every metric of both"),
        "evidence_rows",
        metric_rows(compared.rows),
        height=36 * (len(compared.rows) + 1) + 3,  # all rows without scrolling
    )
    _steps(compared, asked, pair)
    st.markdown("**Layer by layer at equal input**")
    if pair.layers.layers:
        about = _about(pair, "Layer by layer at equal input: CKA of the states, change of attention", LAYERS)
        chart_export.chart(layers_figure(pair.layers.layers), layer_rows(pair.layers.layers), about, "evidence_layers")
        st.caption(
            f"Over the prompt's positions of {pair.layers.steps} steps; means over episodes with 95 % intervals. "
            "Weights are on the Compare page."
        )
    else:
        st.caption(f"Not compared: {plain(pair.layers.why_not)}.")
    _report(pair, found)


def _report(pair: Pair, found: LookedAt | None) -> None:
    """Made when it is asked for: it holds pictures, and reads weights."""
    name = f"{pair.first.spec.digest}-{pair.second.spec.digest}.html"
    shown = found.steps if found else ()
    st.download_button(
        "Report as HTML",
        lambda: report_html(pair, shown),
        file_name=name,
        mime="text/html",
        key="evidence_report",
        on_click="ignore",
        help="One file that needs nothing else; made to be printed as well.",
    )
    if not shown and pair.comparison.steps:
        st.caption("Pictures of the steps that differ most come into it with “Compare layer by layer, with pictures”.")


def _about(pair: Pair, title: str, method: str = "") -> Provenance:
    compared = pair.comparison
    usual = f"{INTERVALS}; {PAIRED}; {compared.tests}"
    samples = f"{compared.episodes} episodes, {compared.paired} steps that both were measured on"
    title = f"{title}: {pair.first.spec.name} (first), {pair.second.spec.name} (second)"
    return provenance(title, (pair.first, pair.second), method or usual, pair.settings, samples)


def _steps(compared: Comparison, asked: Asked, pair: Pair) -> None:
    st.markdown("**Steps where the two differ most**")
    if not compared.steps:
        st.caption(compared.no_step)
        return
    rows = [
        {"episode": s.place.episode, "digest": s.place.digest, "step": s.place.step, "distance": s.distance}
        for s in compared.steps
    ]
    chart_export.table(
        [
            {
                "episode": step.place.episode,
                "step": step.place.step,
                "distance": round(step.distance, 4),
                "player": _link(asked.dataset, step.place.episode, step.place.step, pair),
            }
            for step in compared.steps
        ],
        _about(pair, "Steps where the two differ most", DISTANCE),
        "evidence_steps_table",
        rows,
        "player",
        column_config={"player": st.column_config.LinkColumn("player", display_text="open")},
    )
    st.caption(f"{DISTANCE}.")


def _link(dataset: str, episode: str, step: int, pair: Pair) -> str:
    asked = {
        "page": "compare",
        "dataset": dataset,
        "episode": episode,
        "checkpoint": pair.first.spec.digest,
        "other": pair.second.spec.digest,
        "step": step,
    }
    return f"?{urlencode(asked)}"
