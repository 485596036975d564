"""An episode and a stored run of the fake policy, for tests of what is drawn of them."""

from __future__ import annotations

from pathlib import Path

from analysis.capture_run import capture_episode
from analysis.episodes import open_source
from analysis.pictures.runs import NamedRun
from analysis.records import RecordStore, capture_key
from analysis.types import Episode
from models.fakes import PlantedPolicy
from models.types import Capture
from tests.tiny_episode import STEPS, write_tiny_episode


def planted_run(folder: Path, instruction: str) -> tuple[Path, Episode, NamedRun]:
    """The episode's file, the episode, and a run of all its steps but the last; a workspace beside them in ``ws``."""
    path = write_tiny_episode(folder / "tiny.hdf5", instruction=instruction)
    episode = open_source(path).open("tiny")
    policy = PlantedPolicy()
    run = RecordStore(folder / "ws/records").run(capture_key(policy.info.digest, episode.meta.digest, Capture()))
    capture_episode(policy, episode, run, steps=range(STEPS - 1))
    (folder / "ws/workspace.toml").write_text("episodes = []\ncheckpoints = []\n")
    return path, episode, NamedRun(run, "planted")
