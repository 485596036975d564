"""What is said with a map of how far it can be trusted: in the terminal, in a picture, in its data, in the player."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.attribution.attribution_file import write_attribution
from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.attribution_run import attribution_key
from analysis.attribution.chart import attribution_chart
from analysis.attribution.feature_ablation import FeatureAblation
from analysis.attribution.target import Target
from analysis.commands.attribute import _line, _told
from analysis.episodes import open_source
from analysis.evidence.aim import query_of, target_of
from analysis.evidence.asked_map import AskedMap
from analysis.evidence.episodes import subject
from analysis.evidence.measurements import write_values
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.tested import badge_words
from analysis.pictures import Figure, Shown, View, figure_of
from analysis.pictures.runs import NamedRun, figure_at
from analysis.records import RecordStore, RunKey
from analysis.types import Episode
from app.attribution import map_facts
from models.fake_chunk import CAMERAS, PlantedChunkPolicy
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


def test_a_signed_map_names_the_colours_that_are_drawn_and_no_setting_of_attention(
    made: AttributionMap, episode: Episode
) -> None:
    assert made.signed
    signed, unsigned = (drawn(replace(made, signed=each), episode) for each in (True, False))
    assert "Colours violet (below 0) to orange (above 0), opacity 75%" in " ".join(signed.caption)
    assert "viridis" not in " ".join(signed.caption) and "Colours viridis, opacity" in " ".join(unsigned.caption)
    assert signed.facts["colours"] == ["difference"] and unsigned.facts["colours"] == ["viridis"]
    settings, models = signed.facts["settings"], signed.facts["models"]
    assert isinstance(settings, dict) and isinstance(models, list)
    assert not {"reduce", "layer", "k", "query", "stream"} & set(settings) and settings["opacity"] == 0.75
    assert models[0]["attribution"]["settings"] == dict(made.settings)
    assert models[0]["attribution"]["target"] == "brightness"


def test_the_badge_of_the_map_is_in_the_caption(made: AttributionMap, episode: Episode, tmp_path: Path) -> None:
    records, target = RecordStore(tmp_path), Target(action="brightness", scalar="action")
    method = FeatureAblation(fill="black")
    run = records.run(attribution_key(POLICY.info.digest, episode.meta.digest, method, target, family="fake"))
    run.write_with(0, lambda path: write_attribution(path, made))

    def said() -> str:
        words = badge_words(POLICY.info, episode, run, records)
        return " ".join(figure_at(episode, 0, [NamedRun(run, "planted", tested=words)], View()).caption)

    assert "faithfulness not tested" in said()
    map = AskedMap.of("ablation", {"fill": "black"}, "action.brightness").fitted(POLICY.info)
    key = subject(POLICY.info, episode, opened_as={"family": "fake"}).key(POLICY.info.digest, FaithfulnessProbe(map))
    for step in range(8):
        write_values(records, key, step, {"deletion gain": 0.1, "insertion gain": -0.1})
    assert "faithfulness failed, n = 8 steps" in said()
    words = records.run(attribution_key(POLICY.info.digest, episode.meta.digest, method, Target(tokens=(1,))))
    assert badge_words(POLICY.info, episode, words, records) == ""


@pytest.mark.parametrize("text", ["action", "x", "x@2", "action@1"])
def test_a_query_names_the_target_of_an_action(text: str) -> None:
    seen = observation()
    (frame,) = seen.images.values()
    said = PlantedChunkPolicy().predict(replace(seen, images=dict.fromkeys(CAMERAS, frame)))
    target = Target.parse(text.replace("x", said.action_names[0]))
    query = query_of(target)
    assert query is not None and target_of(said, query, target.scalar) == target
