"""Values to Plotly figures; pure."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from models.weight_change import GroupChange, WeightChange

CHANGED, UNCHANGED = "#0f86c4", "#8c95a3"
BEFORE_ATTENTION = ("vision", "projector", "embeddings")


def weight_change_bars(change: WeightChange) -> go.Figure:
    """Relative change of the weights per layer or part, in per cent of the base's Frobenius norm."""
    groups = change.groups
    percent = [100 * group.relative for group in groups]
    hover = [
        f"{group.label}<br>{value:.3g} % of the base's norm<br>{group.identical} of {group.tensors} tensors identical"
        f"<br>{group.parameters:,} parameters"
        for group, value in zip(groups, percent, strict=True)
    ]
    bars = go.Bar(
        x=[group.label for group in groups],
        y=percent,
        marker_color=[UNCHANGED if _same(group) else CHANGED for group in groups],
        text=["identical" if _same(group) else f"{value:.1f} %" for group, value in zip(groups, percent, strict=True)],
        textposition="outside",
        cliponaxis=False,
        hovertext=hover,
        hoverinfo="text",
    )
    figure = go.Figure(bars)
    figure.update_layout(
        height=270,
        margin={"l": 10, "r": 10, "t": 28, "b": 10},
        yaxis={"title": "change, % of norm", "rangemode": "tozero"},
        xaxis={"title": None, "tickangle": -35 if len(groups) > 9 else 0},
        bargap=0.3,
        font={"size": 13},
    )
    return figure


def weight_change_rows(change: WeightChange) -> list[dict[str, object]]:
    """The numbers of `weight_change_bars`."""
    return [
        {
            "part": group.label,
            "relative change": group.relative,
            "largest change": group.largest,
            "tensors": group.tensors,
            "identical": group.identical,
            "parameters": group.parameters,
        }
        for group in change.groups
    ]


def which_layers_can_differ(change: WeightChange) -> str:
    """One sentence: up to where the two checkpoints are the same, so that their attention must be equal."""
    groups = change.groups
    below = [group for group in groups if group.stream in BEFORE_ATTENTION]
    language = [group for group in groups if group.stream == "language" and group.layer is not None]
    if all(_same(group) for group in groups):
        return "The two checkpoints have the same weights: for the same input everything is equal."
    changed = [group.label for group in below if not _same(group)]
    if changed:
        where = f"{_listed(changed)}, before the language layers"
        return f"Weights differ already in {where}: attention can differ in every layer."
    equal = _leading(language)
    if not equal:
        return (
            "Everything below the language layers is identical; attention can differ from the first language layer on."
        )
    numbers = f"layer {equal[0]}" if len(equal) == 1 else f"layers {equal[0]}–{equal[-1]}"
    # The first layer whose weights changed can show other attention; the layers before it cannot.
    return (
        f"The vision tower, the embeddings and language {numbers} are identical, so for the same input their attention "
        f"maps are equal; only layers from {equal[-1] + 1} on can differ."
    )


def _leading(language: Sequence[GroupChange]) -> list[int]:
    out: list[int] = []
    for group in language:
        if not _same(group) or group.layer is None:
            break
        out.append(group.layer)
    return out


def _same(group: GroupChange) -> bool:
    return group.identical == group.tensors


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more parts"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
