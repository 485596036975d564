"""The steps shown around a rationale, and what changed over them, on numbers worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from analysis.episodes import open_source
from analysis.types import Episode
from analysis.what_followed import Change, Window, clip_window, phases, state_changes
from tests.browser.world import write_synthetic_episode


@pytest.mark.parametrize(
    ("asked", "window"),
    [
        ((0, 1, 100, 5.0), Window(0, 1, 10)),  # two seconds are ten steps
        ((4, 6, 100, 1.0), Window(4, 6, 12)),  # at least eight steps
        ((10, 60, 100, 5.0), Window(10, 60, 60)),  # all that is covered
        ((95, 97, 100, 5.0), Window(95, 97, 100)),  # the episode ends
        ((150, 160, 100, 5.0), Window(99, 100, 100)),  # a rationale about steps that are not there
        ((0, 1, 3, float("nan")), Window(0, 1, 3)),
        ((0, 1, 1, 5.0), Window(0, 1, 1)),
    ],
)
def test_the_window(asked, window):
    assert clip_window(*asked) == window


@dataclass
class Moved:
    """An episode of four steps: x goes 0, 1, 2, 4, y moves at the end only, z is no number there, w never moves."""

    episode: Episode
    states: np.ndarray | None = field(
        default_factory=lambda: np.array([[0, 5.0, 1, 7], [1, 5.01, 1, 7], [2, 5.02, 2, 7], [4, 6.0, np.nan, 7]])
    )

    @property
    def meta(self):
        return replace(self.episode.meta, state_names=("x", "y", "z"), state_units=("m",))

    def __getattr__(self, name):
        return getattr(self.episode, name)


def test_what_changed_most_is_named_with_its_unit(tmp_path: Path):
    source = open_source(write_synthetic_episode(tmp_path / "one.hdf5", 12, id="one"))
    episode = source.open("one")
    moved = Moved(episode)
    assert state_changes(moved, Window(0, 1, 3)) == (Change("x", "m", 0.0, 2.0),)
    assert [one.name for one in state_changes(moved, Window(0, 1, 4))] == ["x", "y"]
    assert phases(episode, Window(0, 1, 12)) == ("reach", "grasp", "carry", "release")
    assert phases(episode, Window(3, 4, 5)) == ("grasp",)


def test_an_episode_without_states_has_no_changes(tmp_path: Path):
    episode = open_source(write_synthetic_episode(tmp_path / "one.hdf5", 4, id="one")).open("one")
    assert state_changes(Moved(episode, None), Window(0, 1, 4)) == ()
