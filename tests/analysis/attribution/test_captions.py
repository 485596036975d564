"""What is said with a map of how far it can be trusted: in the terminal, in a picture, in its data, in the player."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.chart import attribution_chart
from analysis.attribution.feature_ablation import FeatureAblation
from analysis.attribution.target import Target
from analysis.commands.attribute import _line, _told
from analysis.episodes import open_source
from analysis.pictures import Figure, Shown, View, figure_of
from analysis.records import RecordStore, RunKey
from analysis.types import Episode
from app.attribution import map_facts
from models.fakes import PlantedPolicy
from tests.contracts.policy_cases import observation

POLICY = PlantedPolicy()


@pytest.fixture
def episode(tiny_episode: Path) -> Episode:
    source = open_source(tiny_episode)
    return source.open(next(iter(source.scan())).id)


@pytest.fixture(scope="module")
def made() -> AttributionMap:
    return FeatureAblation(fill="black")(POLICY, observation(), Target(action="brightness", scalar="action"))


def converging(made: AttributionMap, delta: float, change: float) -> AttributionMap:
    return replace(made, convergence_delta=delta, notes={"value": 1.0 + change, "value at the baseline": 1.0})


def drawn(found: AttributionMap, episode: Episode, view: View | None = None) -> Figure:
    frames = {episode.meta.cameras[0]: episode.frame(episode.meta.cameras[0], 0)}
    return figure_of(episode.meta, 0, frames, [Shown("planted", "d" * 16, attribution=found)], view or View())


@pytest.mark.parametrize(
    ("delta", "change", "says"),
    [
        (-0.0319, 0.0478, "convergence delta -0.0319 (67 % of the change is missing, more than 5 %: take more steps)"),
        (0.0319, 0.0478, "convergence delta +0.0319 (67 % of the change too much, more than 5 %: take more steps)"),
        (0.0319, -0.0478, "convergence delta +0.0319 (67 % of the change is missing, more than 5 %: take more steps)"),
        (0.00023, 0.0478, "convergence delta +0.00023 (0.48 % of the change too much)"),
        (0.1, 0.0, "convergence delta +0.1"),
        (float("nan"), 0.0478, "convergence delta +nan"),
    ],
)
def test_what_is_missing_is_said_everywhere(
    made: AttributionMap, episode: Episode, tmp_path: Path, delta: float, change: float, says: str
) -> None:
    found = converging(made, delta, change)
    assert found.doubts == (says,)
    assert _line(_told(3, found)).endswith(f"; {says}")
    assert says in " ".join(drawn(found, episode).caption)
    run = RecordStore(tmp_path).run(RunKey("c" * 16, episode.meta.digest, "attribution:ablation"))
    assert map_facts(found, FeatureAblation(), run)["doubts"] == [says]
    maps = {0: converging(made, 0.0, 1.0), 4: found}
    notes = attribution_chart({4: found}, POLICY.info, episode.meta, run).provenance.notes
    assert notes == (f"Step 4: {says}",)
    if "take more" in says:
        assert attribution_chart(maps, POLICY.info, episode.meta, run).provenance.notes == (
            f"At worst, step 4: {says}",
        )


def test_the_standard_error_is_that_of_the_highest_score(made: AttributionMap, episode: Episode) -> None:
    errors = np.linspace(0.1, 0.2, len(made.scores))
    found = replace(made, standard_error=errors, forwards=33)
    top = int(np.abs(made.scores).argmax())
    says = f"standard error {errors[top]:.3g} at the highest score {made.scores[top]:.3g}"
    assert found.doubts == (says,) and says in _line(_told(0, found))
    said = " ".join(drawn(found, episode).caption)
    assert says in said and "33 forwards" in said
