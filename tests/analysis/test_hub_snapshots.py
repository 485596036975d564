"""Data sets as they lie in the cache of Hugging Face's hub: snapshots of links into a folder of blobs beside them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, open_source
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests.contracts.test_episode_source_contract import WRITERS

REVISION = "0123abcd" * 5


def as_snapshot(folder: Path, hub: Path, name: str = "datasets--lab--set") -> Path:
    """Moves the files of ``folder`` into the hub's layout; returns the snapshot."""
    snapshot = hub / name / "snapshots" / REVISION
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            blob = hub / name / "blobs" / hashlib.sha256(str(path).encode()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            path.rename(blob)
            link = snapshot / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    (hub / name / "refs").mkdir()
    (hub / name / "refs/main").write_text(REVISION)
    return snapshot


@pytest.mark.slow
@pytest.mark.parametrize("format", WRITERS)
def test_a_snapshot_opens(format, tmp_path):
    plain = open_source(WRITERS[format](tmp_path / "plain"))
    snapshot = as_snapshot(WRITERS[format](tmp_path / "moved"), tmp_path / "hub")
    for root in (snapshot, snapshot.parents[1]):
        source = open_source(root)
        entries = list(source.scan())
        assert not [entry for entry in entries if isinstance(entry, BrokenEpisode)]
        metas = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
        assert [meta.id for meta in metas] == [entry.id for entry in plain.scan()]
        for meta in metas:
            episode, same = source.open(meta.id), plain.open(meta.id)
            np.testing.assert_array_equal(episode.actions, same.actions)
            for camera in meta.cameras:
                assert episode.encoded_frame(camera, 1) == same.encoded_frame(camera, 1)


@pytest.mark.slow
@pytest.mark.parametrize("format", WRITERS)
def test_a_link_into_another_repository_or_out_is_refused(format, tmp_path):
    snapshot = as_snapshot(WRITERS[format](tmp_path / "mine"), tmp_path / "hub")
    other = as_snapshot(WRITERS[format](tmp_path / "other"), tmp_path / "hub", "datasets--lab--other")
    for path in [path for path in sorted(snapshot.rglob("*")) if path.is_symlink()]:
        target = os.path.realpath(other / path.relative_to(snapshot))
        path.unlink()
        path.symlink_to(target)
    good: list[object] = []
    reasons = []
    try:
        entries = list(open_source(snapshot).scan())
        good = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
        reasons = [entry.reason for entry in entries if isinstance(entry, BrokenEpisode)]
    except UserError as error:
        reasons = [str(error)]
    assert not good and any("link" in reason or "recognised" in reason for reason in reasons)


def test_of_several_snapshots_the_one_that_main_names_opens(tmp_path):
    snapshot = as_snapshot(WRITERS["aloha"](tmp_path / "new"), tmp_path / "hub")
    (snapshot.parent / "older").mkdir()
    assert len(list(open_source(snapshot.parents[1]).scan())) == 2
