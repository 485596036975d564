"""What an intervention did: action before and after, odds, words."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import streamlit as st

from analysis.interventions.chart import JENSEN_SHANNON, effect_rows
from analysis.interventions.effect import Effect
from analysis.interventions.frames import frames_chart
from analysis.pictures.provenance import Provenance
from app.components import chart_export
from app.figures_what_if import action_dumbbells, distributions
from app.plain_text import plain

STYLE = Path(__file__).resolve().parents[1] / "what_if.css"


def draw_effect(effect: Effect, at: int, about: Provenance) -> None:
    """Draws everything about one effect at step ``at`` of the episode."""
    st.html(STYLE)
    st.markdown("##### What that does")
    if effect.note:
        st.info(effect.note)
    if not effect.before.actions.size:
        _frames(effect, about)
        _words(effect)
        return
    step = _chunk_step(effect)
    _headline(effect)
    table, plot = st.columns([5, 6], gap="medium")
    with table:
        st.html(_table(effect, step))
    with plot:
        rows = effect_rows({at: effect})
        chart_export.chart(action_dumbbells(effect, step), rows, about, "what_if_actions")
    if effect.divergences:
        _odds(effect, step, about)
    _frames(effect, about)
    _words(effect)


def _chunk_step(effect: Effect) -> int:
    count = len(effect.change)
    if count < 2:
        return 0
    return int(st.slider("Step of the chunk", 0, count - 1, 0, key="what_if_chunk"))


def _headline(effect: Effect) -> None:
    first, second, third = st.columns(3)
    if effect.divergences:
        first.metric(
            "Jensen-Shannon divergence",
            f"{effect.mean_bits:.3f} bit",
            help="Mean over action tokens; 0 the same, 1 bit nothing in common.",
        )
    elif len(effect.change):
        first.metric("Jensen-Shannon divergence", "none", help="There are no distributions to compare.")
    if np.isfinite(effect.size):
        second.metric("Change of the action", f"{effect.size:.1%} of its range", help="Mean over dimensions and steps.")
    if effect.before.text or effect.after.text:
        third.metric("Words", "changed" if effect.text_changed else "the same")


def _table(effect: Effect, step: int) -> str:
    bits = {(each.step, each.name): each.bits for each in effect.divergences}
    chunk = len(effect.change) > 1
    head = [
        "action",
        "before",
        "after",
        "change",
        *(["|change|, chunk"] if chunk else []),
        *(["JS, bit"] if bits else []),
    ]
    rows = []
    for column, (name, unit) in enumerate(zip(effect.before.action_names, effect.before.action_units, strict=True)):
        one, other = effect.before.actions[step, column], effect.after.actions[step, column]
        cells = [f"{html.escape(name)} <span class='same'>{html.escape(unit)}</span>"]
        cells += [f"{one:+.4f}", f"{other:+.4f}", f"{other - one:+.4f}"]
        cells += [f"{effect.distance[column]:.4f}"] if chunk else []
        cells += [f"{bits[step, name]:.3f}" if (step, name) in bits else "–"] if bits else []
        same = " class='same'" if one == other and bits.get((step, name), 0.0) < 0.0005 else ""
        rows.append(_row("td", cells).replace("<tr>", f"<tr{same}>"))
    return f"<table class='what-if-table' data-what-if-table>{_row('th', head)}{''.join(rows)}</table>"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts as an HTML table, escaped."""
    body = "".join(_row("td", [html.escape(cell) for cell in row]) for row in rows)
    return f"<table class='what-if-table'>{_row('th', [html.escape(title) for title in titles])}{body}</table>"


def _row(kind: str, cells: Sequence[str]) -> str:
    """``cells``: HTML."""
    return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in cells) + "</tr>"


def _odds(effect: Effect, step: int, about: Provenance) -> None:
    here = [each for each in effect.divergences if each.step == step]
    if not here:
        return
    names = [each.name for each in here]
    widest = max(range(len(here)), key=lambda index: here[index].bits)
    name = st.pills("Odds of", names, default=names[widest], key=f"odds_{'_'.join(names)}", required=True)
    found = here[names.index(name)] if name in names else here[widest]
    units = dict(zip(effect.before.action_names, effect.before.action_units, strict=True))
    unit = units.get(found.name, "")
    rows = [
        {"answer": label, "dimension": found.name, "unit": unit, "value": float(value), "probability": float(odds)}
        for label, entry in (("before", found.before), ("after", found.after))
        for value, odds in zip(entry.values, entry.probabilities, strict=True)
    ]
    method = f"Odds of the bins of {found.name}, step {found.step} of the chunk; {JENSEN_SHANNON}: {found.bits:.4f} bit"
    about = replace(about, title=f"Odds of {found.name} before and after", method=method)
    chart_export.chart(distributions(found, unit), rows, about, "what_if_odds")


def _frames(effect: Effect, about: Provenance) -> None:
    if not effect.frames:
        return
    st.markdown("##### What it saw")
    with st.container(horizontal=True):
        for frame in effect.frames:
            st.image(frame.after, caption=f"{plain(frame.camera)}: {frame.share:.1%} of the pixels changed", width=300)
    about = replace(about, title="What the policy saw before and after a change", method="frames as put to the policy")
    chart_export.save(frames_chart(effect.frames, about), "what_if_frames")


def _words(effect: Effect) -> None:
    if not effect.before.text and not effect.after.text:
        return
    st.markdown("##### What it says")
    if not effect.text_changed:
        st.write(plain(effect.before.text))
        st.caption("The words are the same.")
        return
    st.html(f"<p class='what-if-diff' data-what-if-diff>{word_diff(effect.before.text, effect.after.text)}</p>")
    st.caption("Struck out: said before only. Underlaid in green: said after only.")


def word_diff(before: str, after: str) -> str:
    """Words of both as escaped HTML, with what is gone in <del> and what is new in <ins>."""
    one, other = re.findall(r"\S+", before), re.findall(r"\S+", after)
    pieces: list[str] = []
    for kind, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        gone, new = html.escape(" ".join(one[a:b])), html.escape(" ".join(other[c:d]))
        if kind == "equal":
            pieces.append(gone)
            continue
        pieces += [f"<del>{gone}</del>"] if gone else []
        pieces += [f"<ins>{new}</ins>"] if new else []
    return " ".join(pieces)
