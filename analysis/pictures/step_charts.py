"""The player's other views of a step as charts, by the names that downloads and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from analysis.pictures.action_chart import action_chart
from analysis.pictures.chart import Chart
from analysis.pictures.head_chart import head_chart
from analysis.pictures.odds_chart import odds_chart
from analysis.pictures.panels import Shown
from analysis.pictures.runs import NamedRun, check_runs
from analysis.pictures.token_chart import token_chart
from analysis.pictures.view import View
from analysis.types import Episode
from models.errors import UserError

StepChart = Callable[[Episode, int, Sequence[NamedRun], View], Chart]
FRAME = "frame"  # the frame with its maps: `analysis.pictures.runs.figure_at`

STEP_CHARTS: Mapping[str, StepChart] = {
    "heads": lambda episode, step, runs, view: head_chart(episode.meta, step, _shown(runs, step), view),
    "tokens": lambda episode, step, runs, view: token_chart(episode.meta, step, _shown(runs, step), view),
    "actions": action_chart,
    "odds": lambda episode, step, runs, view: odds_chart(episode.meta, step, _shown(runs, step), view),
}


def chart_at(what: str, episode: Episode, step: int, runs: Sequence[NamedRun], view: View) -> Chart:
    """Raises UserError for a chart that is not known, or a record of another episode."""
    make = STEP_CHARTS.get(what)
    if make is None:
        raise UserError(f"there is no view {what[:40]!r}; there are {', '.join((FRAME, *STEP_CHARTS))}")
    check_runs(episode, runs)
    return make(episode, step, runs, view)


def _shown(runs: Sequence[NamedRun], step: int) -> list[Shown]:
    return [one.shown(step) for one in runs]
