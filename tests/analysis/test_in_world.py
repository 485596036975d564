"""Where a change leads, in a world that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from analysis.episodes import open_source
from analysis.evaluation import world as worlds
from analysis.evaluation.world import Standing
from analysis.interventions import in_world
from analysis.interventions.image_edits import HideObject
from analysis.interventions.in_world import Scenes, consequence, keep_consequence, kept_consequence, scenes_of, share
from analysis.interventions.question import Intervention
from analysis.types import EpisodeMeta, SceneObject
from models.errors import UserError
from models.fakes import PlantedPolicy
from models.types import Capture, Observation, Prediction, Rationale, TokenLayout

META = EpisodeMeta("one", "", "look", 3, 5.0, ("eye",), True, task="look", extra={"seed": "7"})


class Lamp:
    """Succeeds at the third step at which the policy says 1.0; the lamp is out of view in scenes of even seeds."""

    robot, fps, longest = "lamp", 5.0, 5
    action_names, action_units, state_names, state_units = ("brightness",), ("1",), (), ()
    begun: ClassVar[list[tuple[int, str | None]]] = []

    def begin(self, seed: int, task: str | None = None) -> str:
        self.begun.append((seed, task))
        self.seed, self.good = seed, 0
        return task or "any"

    def observation(self) -> Observation:
        image = np.zeros((8, 8, 3), np.uint8)
        image[:4, 4:] = 255
        return Observation({"eye": image}, "look at the lamp")

    def objects(self) -> Mapping[str, tuple[SceneObject, ...]]:
        return {"eye": (SceneObject("lamp", box=(4.0, 0.0, 8.0, 4.0)),) if self.seed % 2 else ()}

    def step(self, action: np.ndarray) -> Standing:
        self.good += bool(action[0] == 1.0)
        return Standing(self.good >= 3, self.good > 0, False)


@pytest.fixture(autouse=True)
def lamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_world, "open_world", lambda name: Lamp())
    Lamp.begun.clear()


HIDDEN: list[Intervention] = [HideObject("lamp", "black")]


def test_a_change_that_blinds_the_policy_makes_it_fail(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = consequence(PlantedPolicy(), scenes_of(META, "lamp", 2), HIDDEN, tmp_path, lambda *at: told.append(at))
    assert found.scenes.seeds == (7, 8)
    assert [one.success for one in found.before] == [True, True]
    assert [one.success for one in found.after] == [False, True], "in scene 8 there is no lamp to hide"
    assert [one.steps for one in found.after] == [5, 3] and (found.changed, found.steps) == (5, 8)
    assert share(found.after, lambda one: one.success)[:2] == (1, 2)
    low, high = share(found.before, lambda one: one.success)[2]
    assert low == pytest.approx(0.342, abs=1e-3) and high == 1.0
    assert told[-1] == (4, 4) and set(Lamp.begun) == {(7, "look"), (8, "look")}


@pytest.mark.slow
def test_rollouts_are_episodes_and_are_not_made_twice(tmp_path: Path) -> None:
    scenes = scenes_of(META, "lamp", 1)
    found = consequence(PlantedPolicy(), scenes, HIDDEN, tmp_path)
    source = open_source(tmp_path)
    before, after = (source.open(id) for id in found.episodes[0])
    assert before.meta.success and not after.meta.success and before.meta.length == 3
    np.testing.assert_array_equal(before.actions[:, 0], 1.0)
    assert after.actions.max() == 0.0
    assert after.frame("eye", 0).max() > 200, "what is kept is what the world showed"
    Lamp.begun.clear()
    assert consequence(PlantedPolicy(), scenes, HIDDEN, tmp_path) == found and not Lamp.begun
    other = consequence(PlantedPolicy(), replace(scenes, task="other"), HIDDEN, tmp_path)
    assert other.episodes != found.episodes


def test_what_came_of_it_is_kept_as_a_file(tmp_path: Path) -> None:
    found = consequence(PlantedPolicy(), scenes_of(META, "lamp", 2), HIDDEN, tmp_path)
    assert kept_consequence(tmp_path / "result.json") is None
    keep_consequence(tmp_path / "result.json", found)
    assert kept_consequence(tmp_path / "result.json") == found
    (tmp_path / "result.json").write_text('{"scenes": 3}')
    assert kept_consequence(tmp_path / "result.json") is None


class TwoEyes(Lamp):
    """The lamp stands before the second camera; what the first sees is called so as well."""

    def observation(self) -> Observation:
        seen = super().observation()
        return replace(seen, images={"back": np.zeros((8, 8, 3), np.uint8), "eye": seen.images["eye"]})

    def objects(self) -> Mapping[str, tuple[SceneObject, ...]]:
        return {"back": (SceneObject("door", box=(4.0, 0.0, 8.0, 4.0)),), **super().objects()}


class Squinting(PlantedPolicy):
    """Reads two cameras under names of its own and looks through one of them."""

    def _one(self, observation: Observation) -> Observation:
        assert [*observation.images] == ["observation.images.eye", "other"]
        return replace(observation, images={"eye": observation.images["observation.images.eye"]})

    def layout(self, observation: Observation) -> TokenLayout:
        return PlantedPolicy(self.info).layout(self._one(observation))

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        return PlantedPolicy(self.info).predict(self._one(observation), capture, force)


def test_things_are_hidden_on_the_camera_that_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_world, "open_world", lambda name: TwoEyes())
    scenes = scenes_of(META, "lamp", 1)
    for policy, cameras in ((Squinting(), ("observation.images.eye", "other")), (PlantedPolicy(), ("eye",))):
        named = type(policy)(replace(policy.info, cameras=cameras))
        assert not consequence(named, scenes, HIDDEN, tmp_path / type(policy).__name__).after[0].success
    seeing = PlantedPolicy(replace(PlantedPolicy().info, cameras=("eye",)))
    with pytest.raises(UserError, match="could be made at no step"):
        consequence(seeing, scenes, [HideObject("door", "black")], tmp_path)


def test_the_same_weights_opened_with_other_statistics_act_anew(tmp_path: Path) -> None:
    scenes, policy = scenes_of(META, "lamp", 1), PlantedPolicy()
    wider = PlantedPolicy(replace(policy.info, action_space=replace(policy.info.action_space, high=(2.0,))))
    assert (
        consequence(policy, scenes, HIDDEN, tmp_path).episodes != consequence(wider, scenes, HIDDEN, tmp_path).episodes
    )


def test_a_rollout_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    scenes = scenes_of(META, "lamp", 1)

    def stop(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consequence(PlantedPolicy(), scenes, HIDDEN, tmp_path, stop)
    assert not consequence(PlantedPolicy(), scenes, HIDDEN, tmp_path).after[0].success


def test_refusals_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="names no task and seed"):
        scenes_of(replace(META, extra={}), "lamp", 1)
    with pytest.raises(UserError, match="could be made at no step"):
        consequence(PlantedPolicy(), Scenes("lamp", "look", (8,)), HIDDEN, tmp_path)
    monkeypatch.delattr(Lamp, "objects")
    with pytest.raises(UserError, match="cannot lay the scene"):
        consequence(PlantedPolicy(), Scenes("lamp", "look", (7,)), HIDDEN, tmp_path)


def test_the_sample_worlds_are_registered() -> None:
    assert {"tabletop", "counter"} <= set(worlds.WORLDS)
