"""Episodes from paths, as a policy sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.cameras import plan_cameras
from analysis.episodes import open_source
from analysis.episodes.source import BrokenEpisode
from analysis.evidence.measurements import Subject
from analysis.metrics.coverage import Box
from analysis.records import Setting
from analysis.types import Episode
from models.errors import UserError
from models.types import CheckpointSpec


def episodes_at(paths: Sequence[Path]) -> tuple[Episode, ...]:
    """All episodes of files and folders, each once. Raises UserError for a broken one, or where there is none."""
    found: dict[str, Episode] = {}
    for path in paths:
        for episode in _opened(path):
            found.setdefault(episode.meta.digest, episode)
    if not found:
        raise UserError(f"there is no episode in {', '.join(map(str, paths))}")
    return tuple(found.values())


def subject(
    spec: CheckpointSpec,
    episode: Episode,
    *,
    dataset: str = "",
    cameras: Sequence[str] | None = None,
    drawn: Mapping[str, Box] | None = None,
    opened_as: Mapping[str, Setting] | None = None,
) -> Subject:
    """``cameras``: those of the episode that the policy sees; None: as they fit by name."""
    plan = plan_cameras(spec.cameras, episode.meta.cameras, cameras, spec.every_camera)
    return Subject(episode, plan, dataset, drawn, opened_as)


def _opened(path: Path) -> Iterator[Episode]:
    source = open_source(path)
    for entry in source.scan():
        if isinstance(entry, BrokenEpisode):
            raise UserError(f"{entry.path} cannot be read: {entry.reason}")
        yield source.open(entry.id)
