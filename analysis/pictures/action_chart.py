"""Actions over an episode, recorded and predicted: a small plot a dimension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.compare import PredictedActions, predicted_actions, recorded_actions
from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.panels import Shown
from analysis.pictures.runs import NamedRun
from analysis.pictures.shapes import Dot, Drawing, Path
from analysis.pictures.small_plots import COLOURS, TOP, Frame, small_plots
from analysis.pictures.step_view import nothing, step_provenance
from analysis.pictures.view import View
from analysis.types import Episode
from models.errors import UserError

METHOD = "the first action of each step's chunk: what the policy would have done at the recorded observation"
RECORDED = "recorded"
Values = Float[np.ndarray, " T"]  # nan where a step was not run


@dataclass(frozen=True)
class _Dimension:
    name: str
    unit: str
    curves: Mapping[str, Values]  # who -> values, of those that have it


def action_chart(episode: Episode, step: int, runs: Sequence[NamedRun], view: View) -> Chart:
    """Raises UserError for a record of maps."""
    said = {f"predicted by {one.name}": _predicted(one, episode.meta.length) for one in runs}
    dimensions = _dimensions(recorded_actions(episode), {name: one for name, one in said.items() if one is not None})
    colours = dict(zip((RECORDED, *said), ("ink", *COLOURS), strict=False))
    plots = [_plot(one, step, episode.meta.length, colours) for one in dimensions]
    counts = "; ".join(f"{name}: {0 if one is None else len(one.steps)} steps" for name, one in said.items())
    shown = [Shown(one.name, one.run.key.checkpoint, record=one.run.address) for one in runs]
    about = step_provenance("Actions over the episode", episode.meta, step, shown, view, METHOD, counts)
    rows = [row for one in dimensions for row in _rows(one, colours, episode.meta.length)]
    drawn = small_plots(plots, [*colours.items()]) if plots else nothing("There are no actions.")
    return Chart(about, columns_of(rows), drawn)


def matched(recorded: PredictedActions, said: PredictedActions) -> dict[int, int]:
    """The episode's dimension -> the policy's: by name where units do not contradict; where no name is shared but there
    are as many, in their order. The player's rule (action_match.js)."""

    def agree(at: int, column: int) -> bool:
        one, other = _unit(recorded, at), _unit(said, column)
        return not one or not other or one == other

    by_name = {
        at: said.names.index(name)
        for at, name in enumerate(recorded.names)
        if name in said.names and agree(at, said.names.index(name))
    }
    count = len(said.names)
    foreign = len(recorded.names) == count and not set(recorded.names) & set(said.names)
    in_order = not by_name and foreign and all(agree(k, k) for k in range(count))
    return {k: k for k in range(count)} if in_order else by_name


def _unit(actions: PredictedActions, at: int) -> str:
    return actions.units[at] if at < len(actions.units) else ""


def _predicted(one: NamedRun, length: int) -> PredictedActions | None:
    if one.run.key.method != "predict":
        raise UserError(f"record {one.run.address} holds maps of {one.run.key.method!r}, not actions")
    try:
        return predicted_actions(one.run, length)
    except UserError:  # nothing was run yet, or the model predicts no actions
        return None


def _dimensions(recorded: PredictedActions, said: Mapping[str, PredictedActions]) -> list[_Dimension]:
    """The episode's, then those that only a policy has."""
    columns = {name: matched(recorded, one) for name, one in said.items()}
    own = [
        _Dimension(
            name,
            _unit(recorded, at),
            {RECORDED: recorded.values[:, at]}
            | {who: one.values[:, columns[who][at]] for who, one in said.items() if at in columns[who]},
        )
        for at, name in enumerate(recorded.names)
    ]
    alone = [
        _Dimension(name, _unit(one, column), {who: one.values[:, column]})
        for who, one in said.items()
        for column, name in enumerate(one.names)
        if column not in columns[who].values()
    ]
    return own + alone


def _rows(one: _Dimension, names: Mapping[str, str], length: int) -> Iterator[dict[str, object]]:
    for t in range(length):
        values = {who: float(one.curves[who][t]) if who in one.curves else None for who in names}
        yield {"step": t, "dimension": one.name, "unit": one.unit, **values}


def _plot(one: _Dimension, step: int, length: int, colours: Mapping[str, str]) -> Drawing:
    known = np.concatenate([values[~np.isnan(values)] for values in one.curves.values()])
    frame = Frame(0, length, known)
    shapes = frame.axes(f"{one.name} [{one.unit}]" if one.unit else one.name, ("0", f"step {length - 1}"))
    shapes.append(Path(((frame.x(step + 0.5), TOP), (frame.x(step + 0.5), frame.bottom)), "open"))
    for who, values in one.curves.items():
        for start, stop in _stretches(values):
            points = tuple((frame.x(t + 0.5), frame.y(float(values[t]))) for t in range(start, stop))
            single = Dot(*points[0], 2, colours[who])
            shapes.append(Path(points, colours[who], 1.75, who != RECORDED) if len(points) > 1 else single)
    return frame.drawing(shapes)


def _stretches(values: Values) -> list[tuple[int, int]]:
    """[start, stop) of what is known without a gap."""
    known = np.concatenate([[False], ~np.isnan(values), [False]])
    turns = np.flatnonzero(known[1:] != known[:-1]).tolist()
    return list(zip(turns[::2], turns[1::2], strict=True))
