"""The verdicts of one model: a word, the numbers and the rule that made it; and where its maps were tested."""

from __future__ import annotations

import math

import streamlit as st

from analysis.evidence.faithful import Badge, Faithfulness
from analysis.evidence.measurements import Measurements
from analysis.evidence.pair import Judged
from analysis.evidence.verdict import Number, Verdict, Word
from analysis.metrics.bootstrap import bootstrap_mean
from app.evidence_asked import Asked
from app.figures_evidence import lens_figure, numbers_figure
from app.plain_text import plain
from models.types import RATIONALE_TITLES

COLOURS = {Word.YES: "green", Word.NO: "red", Word.PARTLY: "orange"}
BADGES = {Badge.PASSED: ("green", ":material/verified:"), Badge.FAILED: ("red", ":material/block:")}
HEADS = 6  # localisation heads listed
QUIET = {"displayModeBar": False}


def show(found: Judged, asked: Asked) -> None:
    """Draws what measurements say of one model."""
    episodes, steps = len(found.measured.episodes), len(found.measured.steps)
    st.markdown(f"##### {plain(found.spec.name)}")
    st.caption(
        f"model `{found.spec.digest}` · {episodes} episode{'s' * (episodes != 1)}, {steps} measured steps · "
        f"measured: {', '.join(asked.measures)}"
    )
    columns = st.columns(2)
    for index, verdict in enumerate(found.verdicts):
        with columns[index % 2].container(border=True):
            _verdict(verdict, index)
    with st.container(border=True):
        badge(found.faithful)
    left, right = st.columns(2)
    with left:
        _lens(found.measured)
    with right:
        _heads(found.measured)
    _routes(found.measured)
    with st.expander("Every number, and where it is kept"):
        _numbers(found.measured)


def badge(found: Faithfulness) -> None:
    """The badge of a map, with what was tested."""
    colour, icon = BADGES.get(found.badge, ("gray", ":material/help:"))
    st.markdown(f"**Is the map faithful?** {plain(found.method)}")
    st.badge(found.badge.value, icon=icon, color=colour, help=found.because)
    st.write(plain(found.because))
    if found.checks[0].number.estimate.n:
        shown = [check.number for check in found.checks] + list(found.others)
        st.plotly_chart(numbers_figure(shown), key="evidence_faithful", config=QUIET)
    with st.expander(f"Rule · n counts {found.unit}s"):
        st.caption(plain(found.rule))


def _verdict(verdict: Verdict, index: int) -> None:
    st.markdown(f"**{plain(verdict.question)}**")
    st.badge(verdict.says, color=COLOURS.get(verdict.word, "gray"), help=verdict.rule)
    p = "" if math.isnan(verdict.p) else f" Sign-flip p {'< 0.001' if verdict.p < 0.001 else f'= {verdict.p:.3f}'}."
    st.write(plain(verdict.because + p))
    if any(number.estimate.n for number in verdict.numbers):
        st.plotly_chart(numbers_figure(verdict.numbers), key=f"evidence_numbers_{index}", config=QUIET)
    with st.expander(f"Rule · n counts {verdict.unit}s"):
        st.caption(plain(verdict.rule))


def _lens(measured: Measurements) -> None:
    layers = sum(name.endswith(" to last") for name in measured.names())
    st.markdown("**When is the decision formed?** Action lens, layer by layer")
    if not layers:
        st.caption("The action lens was not measured, or the layers of this policy cannot be read one by one.")
        return
    over = {
        name: [bootstrap_mean(measured.per_episode(f"lens {layer} {name}")) for layer in range(layers)]
        for name in ("to last", "agrees")
    }
    st.plotly_chart(lens_figure(over["to last"], over["agrees"]), key="evidence_lens", config=QUIET)
    st.caption("Final norm and head applied to each layer's state, restricted to the action bins. Means over episodes.")


def _heads(measured: Measurements) -> None:
    names = [name for name in measured.names() if name.startswith("localises ")]
    st.markdown("**Which heads look at one place?** Share of steps among the three best")
    if not names:
        st.caption("Attention was not measured.")
        return
    shares = sorted(((bootstrap_mean(measured.per_episode(name)), name) for name in names), key=lambda e: -e[0].value)
    rows = [
        {
            **_head(name),
            "share of steps": round(held.value, 3),
            "interval": f"{held.low:.2f} to {held.high:.2f}" if held.has_interval else f"n = {held.n}, too few",
        }
        for held, name in shares[:HEADS]
    ]
    st.dataframe(rows, hide_index=True, key="evidence_heads")
    st.caption(
        "After arXiv 2503.06287: heads with at least the median share on an image, by rising spatial entropy. Of "
        "several cameras every one counts, and a head stands with that on which it looks at one place best."
    )


def _head(measurement: str) -> dict[str, int | str]:
    """Layer and head of a measurement's name, and of several cameras the one on which it looks at one place."""
    place, _, camera = measurement.removeprefix("localises ").partition(" on ")
    layer, _, head = place.partition(".")
    return {"layer": int(layer), "head": int(head)} | ({"camera": camera} if camera else {})


def _routes(measured: Measurements) -> None:
    """Drawn where it was measured."""
    names = [name for name in measured.names() if name.startswith("route ")]
    if not names:
        return
    st.markdown("**What does the action read?** Its attention to each part knocked out")
    shown = [Number(_part(name), bootstrap_mean(measured.per_episode(name)), measured.unit) for name in names]
    st.plotly_chart(numbers_figure(shown), key="evidence_routes", config=QUIET)
    st.caption(
        f"How far the action moves ({measured.unit}), means over episodes. Only the direct route is cut, in all layers "
        "and heads; what the policy said is kept."
    )


def _part(measurement: str) -> str:
    part, _, name = measurement.removeprefix("route ").partition(":")
    return f"{part}: {RATIONALE_TITLES.get(name, name)}" if name else part


def _numbers(measured: Measurements) -> None:
    rows = []
    for name in measured.names():
        held = bootstrap_mean(measured.per_episode(name))
        rows.append({"measurement": name, "mean": held.value, "low": held.low, "high": held.high, "episodes": held.n})
    st.dataframe(rows, hide_index=True, key="evidence_all")
    st.caption(
        "Means over episodes with 95 % bootstrap intervals; none under 5 episodes. Records: "
        + ", ".join(f"`{address}`" for address in measured.records)
    )
