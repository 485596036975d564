"""Whether actions are increments or targets, and the keyframes that follow from it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.dataset_description import ACTIONS_ARE, DatasetDescription, as_toml, described
from analysis.described_episode import DescribedEpisode
from analysis.episodes import open_source
from analysis.episodes.hdf5_trajectory import Hdf5Trajectory
from analysis.rationales.clips import clip
from analysis.rationales.keyframes import keyframes
from analysis.rationales.motion import action_kind, speed
from models.errors import UserError
from tests.tiny_aloha import write_aloha
from tests.tiny_robomimic import write_robomimic

SAMPLES = Path(__file__).parents[2] / "sample_data"
ONE = SAMPLES / "episodes" / "carrot-on-plate-0.hdf5"
JOINTS = ("shoulder_pan.pos", "elbow_flex.pos", "left_gripper.pos", "right_gripper.pos")


def made(actions: np.ndarray, names: tuple[str, ...], **extra: str) -> Hdf5Trajectory:
    episode = open_source(ONE).open("carrot-on-plate-0")
    meta = replace(episode.meta, length=len(actions), action_names=names, action_units=(), extra=extra)
    return replace(episode, actions=actions, states=None, meta=meta)


@pytest.mark.parametrize("file", ["episodes/carrot-on-plate-0.hdf5", "counter_episodes/open-drawer-0.hdf5"])
def test_the_shipped_episodes_are_told_by_their_states(file: str) -> None:
    path = SAMPLES / file
    assert action_kind(open_source(path).open(path.stem)) == "relative"


def test_the_same_movement_as_poses_has_the_same_pause(tmp_path: Path) -> None:
    path = shutil.copy(ONE, tmp_path)
    steps = np.array([0.02] * 8 + [0.004, 0.002, 0.004] + [0.02] * 12)
    with h5py.File(path, "a") as file:
        place = 0.3 + np.concatenate([[0], np.cumsum(steps)])
        actions, states = file["actions"][:] * 0, file["observations/state"][:]
        actions[:, 0], states[:, 0] = place[1:], place[:-1]
        states[:, 1:3] = 0
        file["actions"][...], file["observations/state"][...] = actions, states
    episode = open_source(path).open("carrot-on-plate-0")
    assert action_kind(episode) == "absolute"
    assert keyframes(episode) == (0, 9)
    assert clip(episode, 0, 3, (), 1).actions_are == "absolute"


def test_joints_are_positions_and_every_gripper_counts() -> None:
    actions = np.full((40, 4), 0.5)
    actions[:, 0] = np.concatenate([np.arange(18) / 50, [0.35, 0.351, 0.352, 0.36], 0.36 + np.arange(1, 19) / 50])
    actions[:, 2] += np.where(np.arange(40) % 2, 0.001, 0)  # this one trembles
    actions[:, 3] = np.where((np.arange(40) >= 6) & (np.arange(40) < 30), 0.1, 0.9)
    episode = made(actions, JOINTS)
    assert action_kind(episode) == "absolute"
    found = keyframes(episode)
    assert {0, 6, 30} <= set(found)
    assert len(found) == 4
    assert 17 < sorted(found)[2] < 23


def test_what_nothing_tells_has_no_speed_and_a_description_says_it() -> None:
    episode = made(np.full((9, 3), 0.3), ("x", "y", "z"))
    assert action_kind(episode) == ""
    assert speed(episode) is None
    told = DescribedEpisode.corrected(episode, DatasetDescription(actions_are="relative"))
    assert action_kind(told) == "relative"
    assert speed(told) == pytest.approx(np.full(9, 0.3 * 3**0.5))
    assert action_kind(made(np.zeros((9, 1)), ("joint_velocity",))) == ""
    assert action_kind(made(np.zeros((9, 1)), ("a",), actions_are="absolute")) == "absolute"


def test_the_description_keeps_it_and_knows_no_third_kind() -> None:
    assert 'actions_are = "absolute"' in as_toml(DatasetDescription(actions_are="absolute"))
    assert described({"actions_are": "absolute"}, "x").actions_are == "absolute"
    with pytest.raises(UserError, match="x: 'actions_are' is 'odd'; expected one of relative, absolute"):
        described({"actions_are": "odd"}, "x")


def test_sources_that_know_say_so(tmp_path: Path) -> None:
    settings = {"controller_configs": {"type": "OSC_POSE", "control_delta": False}}
    for path, kind in (
        (write_aloha(tmp_path / "a" / "e.hdf5", columns=5), "absolute"),
        (write_robomimic(tmp_path / "b.hdf5"), "relative"),
        (write_robomimic(tmp_path / "c.hdf5", **settings), "absolute"),
    ):
        meta = next(iter(open_source(path).scan()))
        assert meta.extra[ACTIONS_ARE] == kind
