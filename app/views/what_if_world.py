"""The consequence of a change in a simulated world, where the workspace names one."""

from __future__ import annotations

from analysis.interventions.question import Intervention
from app.what_if import Place


def closed_loop(place: Place, edits: tuple[Intervention, ...]) -> None:
    """Nothing yet."""
