"""The verdicts of one model: a word, the numbers and the rule that made it; and where its maps were tested."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from analysis.evidence.charts import INTERVALS, estimate_cells, provenance
from analysis.evidence.faithful import Badge, Faithfulness
from analysis.evidence.inside import LocalisingHead, heads_of, lens_of
from analysis.evidence.measurements import Measurements
from analysis.evidence.pair import Judged
from analysis.evidence.verdict import Number, Sample, Verdict, Word
from analysis.metrics.bootstrap import bootstrap_mean
from analysis.pictures.provenance import Provenance
from app.components import chart_export
from app.evidence_asked import Asked
from app.figures_evidence import lens_figure, numbers_figure
from app.plain_text import plain
from models.types import RATIONALE_TITLES

COLOURS = {Word.YES: "green", Word.NO: "red", Word.PARTLY: "orange"}
BADGES = {Badge.PASSED: ("green", ":material/verified:"), Badge.FAILED: ("red", ":material/block:")}
HEADS = 6  # localisation heads listed
LENS = "Final norm and head applied to each layer's state, restricted to the action bins"
HEADS_METHOD = (
    "After arXiv 2503.06287: heads with at least the median share on an image, by rising spatial entropy. Of several "
    "cameras every one counts, and a head stands with that on which it looks at one place best"
)
ROUTES = (
    "How far the action moves with the direct route cut in all layers and heads, while what the policy said is kept"
)


def show(found: Judged, asked: Asked, opened: Mapping[str, str]) -> None:
    """Draws what measurements say of one model. ``opened``: how, for captions."""
    episodes, steps = len(found.measured.episodes), len(found.measured.steps)
    st.markdown(f"##### {plain(found.spec.name)}")
    st.caption(
        f"model `{found.spec.digest}` · {episodes} episode{'s' * (episodes != 1)}, {steps} measured steps · "
        f"measured: {', '.join(asked.measures)}"
    )

    def told(title: str, method: str) -> Provenance:
        return provenance(title, (found,), method, {**asked.settings, **opened})

    columns = st.columns(2)
    for index, verdict in enumerate(found.verdicts):
        with columns[index % 2].container(border=True):
            _verdict(verdict, index, told(verdict.question, verdict.rule))
    with st.container(border=True):
        _badge(found.faithful, told(f"Is the map of {found.faithful.map} faithful?", found.faithful.rule))
    left, right = st.columns(2)
    with left:
        _lens(found.measured, told("Action lens, layer by layer", LENS))
    with right:
        _heads(found.measured, told("Heads that look at one place: share of steps among the three best", HEADS_METHOD))
    _routes(found.measured, told("Attention of the action to each part knocked out", ROUTES))
    with st.expander("Every number, and where it is kept"):
        _numbers(found.measured, told("Everything that was measured", INTERVALS))


def _badge(found: Faithfulness, about: Provenance) -> None:
    """The badge of a map, with what was tested."""
    colour, icon = BADGES.get(found.badge, ("gray", ":material/help:"))
    st.markdown(f"**Is the map faithful?** {plain(found.map)}")
    st.badge(found.badge.value, icon=icon, color=colour, help=found.because)
    st.write(plain(found.because))
    if found.checks[0].number.estimate.n:
        shown = [check.number for check in found.checks] + list(found.others)
        chart_export.chart(numbers_figure(shown), _rows(shown), about, "evidence_faithful")
    with st.expander(f"Rule · n counts {found.unit}s"):
        st.caption(plain(found.rule))


def _verdict(verdict: Verdict, index: int, about: Provenance) -> None:
    st.markdown(f"**{plain(verdict.question)}**")
    st.badge(verdict.says, color=COLOURS.get(verdict.word, "gray"), help=verdict.rule)
    p = "" if math.isnan(verdict.p) else f" Sign-flip p {'< 0.001' if verdict.p < 0.001 else f'= {verdict.p:.3f}'}."
    st.write(plain(verdict.because + p))
    if any(number.estimate.n for number in verdict.numbers):
        figure = numbers_figure(verdict.numbers)
        chart_export.chart(figure, _rows(verdict.numbers), about, f"evidence_numbers_{index}")
    with st.expander(f"Rule · n counts {verdict.unit}s"):
        st.caption(plain(verdict.rule))


def _rows(numbers: Sequence[Number]) -> list[dict[str, object]]:
    return [{"quantity": each.label, "unit": each.unit, **estimate_cells(each.estimate)} for each in numbers]


def _lens(measured: Measurements, about: Provenance) -> None:
    layers = lens_of(measured)
    st.markdown("**When is the decision formed?** Action lens, layer by layer")
    if not layers:
        st.caption("The action lens was not measured, or the layers of this policy cannot be read one by one.")
        return
    rows = [
        {
            "layer": each.layer,
            **estimate_cells(each.to_last, "distance, bits "),
            **estimate_cells(each.agrees, "agrees, share "),
        }
        for each in layers
    ]
    figure = lens_figure([each.to_last for each in layers], [each.agrees for each in layers])
    chart_export.chart(figure, rows, about, "evidence_lens")
    st.caption(f"{LENS}. Means over {Sample.of(measured).unit}s.")


def _heads(measured: Measurements, about: Provenance) -> None:
    heads = heads_of(measured)
    st.markdown("**Which heads look at one place?** Share of steps among the three best")
    if not heads:
        st.caption("Attention was not measured.")
        return
    rows = [_head(each) | {"share of steps": round(each.share.value, 3), "interval": _range(each)} for each in heads]
    numbers = [_head(each) | estimate_cells(each.share) for each in heads]
    chart_export.table(rows[:HEADS], about, "evidence_heads", numbers)
    st.caption(f"{HEADS_METHOD}.")


def _head(found: LocalisingHead) -> dict[str, object]:
    return {"layer": found.layer, "head": found.head} | ({"camera": found.camera} if found.camera else {})


def _range(found: LocalisingHead) -> str:
    held = found.share
    return f"{held.low:.2f} to {held.high:.2f}" if held.has_interval else f"n = {held.n}, too few"


def _routes(measured: Measurements, about: Provenance) -> None:
    """Drawn where it was measured."""
    names = [name for name in measured.names() if name.startswith("route ")]
    if not names:
        return
    st.markdown("**What does the action read?** Its attention to each part knocked out")
    sample = Sample.of(measured)
    shown = [sample.number(_part(name), sample.values(name), measured.unit) for name in names]
    chart_export.chart(numbers_figure(shown), _rows(shown), about, "evidence_routes")
    st.caption(f"{ROUTES} ({measured.unit}). Means over {sample.unit}s.")


def _part(measurement: str) -> str:
    part, _, name = measurement.removeprefix("route ").partition(":")
    return f"{part}: {RATIONALE_TITLES.get(name, name)}" if name else part


def _numbers(measured: Measurements, about: Provenance) -> None:
    rows = []
    for name in measured.names():
        held = bootstrap_mean(measured.per_episode(name))
        rows.append({"measurement": name, "mean": held.value, "low": held.low, "high": held.high, "episodes": held.n})
    chart_export.table(rows, about, "evidence_all")
    st.caption(
        "Means over episodes with 95 % bootstrap intervals; none under 5 episodes. Records: "
        + ", ".join(f"`{address}`" for address in measured.records)
    )
