"""Episodes from paths, as a policy sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from analysis.cameras import plan_cameras
from analysis.episodes import open_source
from analysis.episodes.source import BrokenEpisode, OpenedSource
from analysis.evidence.drawn import NOTHING_DRAWN, DrawnBoxes
from analysis.evidence.measurements import Subject
from analysis.records import Setting
from analysis.types import Episode, EpisodeMeta, Step
from models.errors import UserError
from models.types import CheckpointSpec, Rationale


def episodes_at(paths: Sequence[Path], source_at: Callable[[Path], OpenedSource] = open_source) -> tuple[Episode, ...]:
    """All episodes of files and folders, each once. Raises UserError for a broken one, or where there is none."""
    found: dict[str, Episode] = {}
    for path in paths:
        for episode in _opened(source_at(path)):
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
    drawn: DrawnBoxes = NOTHING_DRAWN,
    opened_as: Mapping[str, Setting] | None = None,
) -> Subject:
    """``cameras``: those of the episode that the policy sees; None: as they fit by name."""
    plan = plan_cameras(spec.cameras, episode.meta.cameras, cameras, spec.every_camera)
    return Subject(episode, plan, dataset, drawn, opened_as)


class ListedEpisode:
    """An episode of which only the listing is known; opened when a step is asked for."""

    def __init__(self, meta: EpisodeMeta, open: Callable[[], Episode]):
        self.meta, self._open = meta, open

    @property
    def actions(self) -> Float[np.ndarray, "T D"]:
        return self._open().actions

    @property
    def states(self) -> Float[np.ndarray, "T S"] | None:
        return self._open().states

    @property
    def rationales(self) -> tuple[Rationale, ...]:
        return self._open().rationales

    def step(self, index: int) -> Step:
        return self._open().step(index)

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self._open().frame(camera, index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        return self._open().encoded_frame(camera, index)


def _opened(source: OpenedSource) -> Iterator[Episode]:
    for entry in source.scan():
        if isinstance(entry, BrokenEpisode):
            raise UserError(f"{entry.path} cannot be read: {entry.reason}")
        yield source.open(entry.id)
