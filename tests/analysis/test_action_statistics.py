"""Action statistics against numbers worked out by hand, over a sample and over everything, kept and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import action_statistics
from analysis.action_statistics import BINS, StoredActions, dataset_actions
from analysis.episodes.hdf5_writer import Series
from analysis.workspace import Workspace
from tests.tiny_episode import ACTION_NAMES, ACTION_UNITS, write_tiny_episode


def actions(number: int) -> Series:
    """Six steps; the first dimension counts 6 number, 6 number + 1 ..."""
    values = np.zeros((6, 7), np.float32)
    values[:, 0] = 6 * number + np.arange(6)
    return Series(values, ACTION_NAMES, ACTION_UNITS)


@pytest.fixture
def opened(tmp_path: Path) -> Workspace:
    for number in range(10):
        write_tiny_episode(tmp_path / "data" / f"{number}.hdf5", id=f"e{number}", actions=actions(number))
    (tmp_path / "workspace.toml").write_text('episodes = ["data"]\n')
    workspace = Workspace.open(tmp_path)
    workspace.update_index()
    return workspace


@pytest.mark.slow
def test_numbers_of_all_episodes(opened):
    (dataset,) = (entry.name for entry in opened.datasets())
    found = dataset_actions(opened.index, dataset, opened.source(dataset), None)
    (group,) = found.groups
    first, second = group.dimensions[:2]
    assert (found.read, found.usable, group.steps, group.kept) == (10, 10, 60, 60)
    assert (first.name, first.unit, first.low, first.high) == ("x", "m", 0.0, 59.0)
    assert first.q01 == pytest.approx(0.59) and first.q99 == pytest.approx(58.41)  # linear between ranks
    assert first.mean == pytest.approx(29.5) and first.std == pytest.approx(np.std(np.arange(60)))
    assert len(first.counts) == BINS and sum(first.counts) == 60
    assert second.counts[0] == 60 and (second.low, second.high) == (0.0, 0.0)


@pytest.mark.slow
def test_a_sample_is_evenly_spread_and_says_its_size(opened):
    (dataset,) = (entry.name for entry in opened.datasets())
    told = []
    found = dataset_actions(opened.index, dataset, opened.source(dataset), 3, lambda *now: told.append(now))
    assert (found.read, found.usable, found.groups[0].steps) == (3, 10, 18)
    assert (found.groups[0].dimensions[0].low, found.groups[0].dimensions[0].high) == (0.0, 41.0)  # episodes 0, 3, 6
    assert told[0] == (0, 3) and told[-1] == (3, 3)


@pytest.mark.slow
def test_memory_is_bounded_by_keeping_every_second_step(opened, monkeypatch):
    monkeypatch.setattr(action_statistics, "KEPT_STEPS", 20)
    (dataset,) = (entry.name for entry in opened.datasets())
    (group,) = dataset_actions(opened.index, dataset, opened.source(dataset), None).groups
    assert group.steps == 60 and group.kept == 15  # every fourth
    assert group.dimensions[0].low == 0.0 and group.dimensions[0].high == 56.0


def test_what_is_no_number_is_counted_apart(tmp_path):
    column = np.array([1.0, np.nan, np.inf, 3.0])
    found = action_statistics._dimension("x", "m", column)
    assert (found.low, found.high, found.not_finite, sum(found.counts)) == (1.0, 3.0, 2, 2)
    assert action_statistics._dimension("x", "m", np.array([np.nan])).not_finite == 1


@pytest.mark.slow
def test_an_episode_that_cannot_be_read_is_named(opened, tmp_path):
    (dataset,) = (entry.name for entry in opened.datasets())
    (tmp_path / "data" / "4.hdf5").unlink()
    found = dataset_actions(opened.index, dataset, opened.source(dataset), None)
    assert found.read == 9 and [entry.path for entry in found.skipped] == ["e4"]


@pytest.mark.slow
def test_kept_until_the_data_set_changes(opened, tmp_path):
    (dataset,) = (entry.name for entry in opened.datasets())
    found = dataset_actions(opened.index, dataset, opened.source(dataset), 3)
    kept = StoredActions(tmp_path / "kept")
    assert kept.read(dataset, "now", 3) is None
    kept.write(dataset, "now", 3, found)
    assert kept.read(dataset, "now", 3) == found
    assert kept.read(dataset, "later", 3) is None and kept.read(dataset, "now", None) is None
    next((tmp_path / "kept").iterdir()).write_text("{")
    assert kept.read(dataset, "now", 3) is None
