"""Filling a run step by step: resuming, order, cancelling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.capture_run import capture_episode, starting_at
from analysis.episodes import open_source
from analysis.records import RecordStore, Run, capture_key
from analysis.types import Episode
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.fakes import PlantedPolicy
from models.types import Capture, Observation, Part, Prediction
from tests.tiny_episode import write_tiny_episode


class CountingPolicy(PlantedPolicy):
    """Remembers how often it ran and what it was asked to keep."""

    asked: list[Capture | None]

    def predict(self, observation: Observation, capture: Capture | None = None, force: Any = None) -> Prediction:
        self.asked.append(capture)
        return super().predict(observation, capture, force)


@pytest.fixture
def policy() -> CountingPolicy:
    made = CountingPolicy()
    object.__setattr__(made, "asked", [])
    return made


@pytest.fixture
def episode(tiny_episode: Path) -> Episode:
    return open_source(tiny_episode).open("tiny")


@pytest.fixture
def run(tmp_path: Path, policy: PlantedPolicy, episode: Episode) -> Run:
    return RecordStore(tmp_path).run(capture_key(policy.info.digest, episode.meta.digest, Capture(layers=(1,))))


def test_a_whole_episode(policy, episode, run):
    seen: list[tuple[int, int]] = []
    did = capture_episode(policy, episode, run, progress=lambda done, wanted: seen.append((done, wanted)))
    assert did == tuple(range(6)) and run.complete
    assert seen == [(done, 6) for done in range(7)]
    assert run.read(3).attention[0].layers == (1,)
    assert policy.asked == [Capture(layers=(1,))] * 6
    expected = policy.predict(episode.step(3).observation)
    np.testing.assert_array_equal(run.read(3).actions, expected.actions)


def test_an_interrupted_capture_resumes_without_running_a_step_again(policy, episode, run):
    did = capture_episode(policy, episode, run, cancelled=lambda: len(policy.asked) == 2)
    assert did == (0, 1) and not run.complete
    seen: list[tuple[int, int]] = []
    capture_episode(policy, episode, run, progress=lambda done, wanted: seen.append((done, wanted)))
    assert run.complete and len(policy.asked) == 6
    assert seen[0] == (2, 6)
    assert capture_episode(policy, episode, run) == () and len(policy.asked) == 6


def test_some_steps_do_not_complete_a_run_until_the_rest_comes(policy, episode, run):
    assert capture_episode(policy, episode, run, steps=range(2, 4)) == (2, 3)
    assert run.steps_done() == {2, 3} and not run.complete
    capture_episode(policy, episode, run)
    assert run.complete


def test_the_order_can_start_at_a_step(policy, episode, run):
    assert capture_episode(policy, episode, run, order=starting_at(4)) == (4, 5, 0, 1, 2, 3)


def test_the_order_is_asked_again_for_each_step(policy, episode, run):
    cursor = iter([5, 0, 3, 2, 1, 4])
    assert capture_episode(policy, episode, run, order=lambda left: next(cursor)) == (5, 0, 3, 2, 1, 4)


def test_a_step_that_the_episode_lacks_is_refused(policy, episode, run):
    with pytest.raises(UserError, match="steps 0 to 5; step 6"):
        capture_episode(policy, episode, run, steps=[6])


def test_a_run_of_something_else_is_refused(policy, episode, run):
    other = replace(run, key=replace(run.key, episode="another"))
    with pytest.raises(ValueError, match="another checkpoint or episode"):
        capture_episode(policy, episode, other)


def test_everything_can_be_captured_for_a_rollout(tmp_path, policy, episode):
    from analysis.attention import rollout

    everything = Capture(queries=tuple(Part), prefix=True)
    run = RecordStore(tmp_path).run(capture_key(policy.info.digest, episode.meta.digest, everything))
    capture_episode(policy, episode, run, steps=[0])
    rows = rollout(run.read(0).attention[0])
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)


def test_a_policy_with_two_cameras_sees_them_under_its_own_names(tmp_path):
    frames = {camera: np.full((4, 4, 3), value, np.uint8) for camera, value in (("left", 255), ("images.front", 51))}
    path = write_tiny_episode(
        tmp_path / "two.hdf5", images={camera: [image] * 6 for camera, image in frames.items()}, truth={}
    )
    policy, seen = PlantedChunkPolicy(), open_source(path).open("tiny")
    store = RecordStore(tmp_path)
    actions = {}
    for cameras in (None, ["left", "images.front"]):
        run = store.run(capture_key(policy.info.digest, seen.meta.digest, Capture(), cameras=cameras))
        assert capture_episode(policy, seen, run, steps=[0]) == (0,)
        actions[cameras and tuple(cameras)] = run.read(0).actions[0]
    np.testing.assert_allclose(actions[None], [0.32, 1.0], rtol=1e-6)  # "front" is images.front, "wrist" what is left
    np.testing.assert_allclose(actions["left", "images.front"], [0.4, 0.2], rtol=1e-6)
