"""What policies thought of every bin of every action dimension at a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.panels import Shown
from analysis.pictures.shapes import Box, Drawing, Shape
from analysis.pictures.small_plots import COLOURS, Frame, small_plots
from analysis.pictures.step_view import nothing, step_provenance
from analysis.pictures.view import View
from analysis.types import EpisodeMeta
from models.types import ActionDistribution

PROBABLE = 1e-3  # of the largest probability: bins below it are not drawn
METHOD = "softmax over the bins of each action token, given what was written before it"
NONE = "No odds of bins were kept at this step: it was not run, or the actions are continuous."


def odds_chart(meta: EpisodeMeta, step: int, shown: Sequence[Shown], view: View) -> Chart:
    """Drawn is the first step of the chunk; the data hold all."""
    found = [one.prediction.action_distribution if one.prediction else () for one in shown]
    rows = [row for one, odds in zip(shown, found, strict=True) for each in odds for row in _rows(one, each)]
    now = [{each.name: each for each in odds if each.step == 0} for odds in found]
    names = dict.fromkeys(name for one in now for name in one)
    plots = [_plot(name, [one.get(name) for one in now]) for name in names]
    about = step_provenance("Odds of the action's bins", meta, step, shown, view, METHOD, f"{len(rows)} bins")
    key = [(one.name, COLOURS[k % 2]) for k, one in enumerate(shown)]
    return Chart(about, columns_of(rows), small_plots(plots, key) if plots else nothing(NONE))


def _rows(who: Shown, each: ActionDistribution) -> Iterator[dict[str, object]]:
    for value, probability in zip(each.values.tolist(), each.probabilities.tolist(), strict=True):
        told = {"model": who.name, "chunk step": each.step, "dimension": each.name}
        yield {**told, "value": value, "probability": probability}


def _plot(name: str, found: Sequence[ActionDistribution | None]) -> Drawing:
    """Bars side by side; what is improbable in all of them lies outside."""
    there = [one for one in found if one is not None]
    kept = [one.probabilities >= PROBABLE * one.probabilities.max() for one in there]
    values = np.concatenate([one.values[which] for one, which in zip(there, kept, strict=True)])
    bin = abs(float(there[0].values[1] - there[0].values[0])) if len(there[0].values) > 1 else 1.0
    highest = max(float(one.probabilities.max()) for one in there)
    ends = float(values.min()) - 2 * bin, float(values.max()) + 2 * bin
    frame = Frame(*ends, np.array([0.0, highest]), from_zero=True)
    shapes: list[Shape] = frame.axes(name, (f"{frame.low:+.3f}", f"{frame.high:+.3f}"))
    wide = (frame.x(bin) - frame.x(0)) / len(found)
    for which, one in enumerate(found):
        for value, odds in zip(one.values.tolist(), one.probabilities.tolist(), strict=True) if one else ():
            if odds >= PROBABLE * highest:
                x, y = frame.x(value) + (which - len(found) / 2) * wide, frame.y(odds)
                shapes.append(Box(x, y, max(1.0, wide), frame.bottom - y, COLOURS[which % 2]))
    return frame.drawing(shapes)
