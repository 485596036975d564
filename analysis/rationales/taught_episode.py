"""Episodes with the rationales that were written for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes import BrokenEpisode, EpisodeSource
from analysis.rationales.rationale_file import ASIDE, SUFFIX, KeptRationale, read_rationales
from analysis.types import Episode, EpisodeMeta, Step
from models.errors import UserError
from models.types import Rationale


@dataclass(frozen=True)
class TaughtEpisode:
    """Another episode, to whose own rationales those of teachers are added."""

    episode: Episode
    taught: tuple[Rationale, ...]

    @property
    def meta(self) -> EpisodeMeta:
        return replace(self.episode.meta, has_rationale=bool(self.rationales))

    @property
    def actions(self) -> Float[np.ndarray, "T D"]:
        """Robot units, named in ``meta.action_units``."""
        return self.episode.actions

    @property
    def states(self) -> Float[np.ndarray, "T S"] | None:
        """Units: ``meta.state_units``."""
        return self.episode.states

    @property
    def rationales(self) -> tuple[Rationale, ...]:
        return (*self.episode.rationales, *self.taught)

    def step(self, index: int) -> Step:
        return self.episode.step(index)

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self.episode.frame(camera, index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        return self.episode.encoded_frame(camera, index)


@dataclass(frozen=True)
class TaughtSource:
    """A source whose episodes carry the rationales of files of JSON lines."""

    source: EpisodeSource
    files: tuple[Path, ...]
    own: bool = True  # also the rationales that the episodes brought along

    @property
    def root(self) -> Path:
        return Path(getattr(self.source, "root", ""))

    @classmethod
    def handles(cls, path: Path) -> bool:
        """No file by itself: it is made around another source."""
        return False

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        yield from marked_taught(self.source.scan(), self.files, self.own)

    def open(self, id: str) -> Episode:
        by_episode, _ = gathered(self.files)
        episode = self.source.open(id)
        taught = TaughtEpisode(episode, fitting(by_episode.get(id, ()), episode.meta))
        return taught if self.own else OnlyTaught(taught.episode, taught.taught)


@dataclass(frozen=True)
class OnlyTaught(TaughtEpisode):
    """As `TaughtEpisode`, without what the episode brought along."""

    @property
    def rationales(self) -> tuple[Rationale, ...]:
        return self.taught


def marked_taught(
    entries: Iterator[EpisodeMeta | BrokenEpisode], files: Sequence[Path], own: bool = True
) -> Iterator[EpisodeMeta | BrokenEpisode]:
    """``entries``, those with a rationale in ``files`` marked so; files that cannot be used are named first."""
    by_episode, broken = gathered(files)
    yield from broken
    for entry in entries:
        if isinstance(entry, EpisodeMeta):
            said = fitting(by_episode.get(entry.id, ()), entry)
            yield replace(entry, has_rationale=bool(said) or (entry.has_rationale and own))
        else:
            yield entry


def rationale_files(folder: Path) -> tuple[Path, ...]:
    """Files of rationales in a folder, in the order of their names; those kept aside are none."""
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return tuple(path for path in found if not path.name.endswith(ASIDE))


def gathered(files: Sequence[Path]) -> tuple[dict[str, list[KeptRationale]], list[BrokenEpisode]]:
    """Rationales by episode; files that cannot be used are named, not left out."""
    by_episode: dict[str, list[KeptRationale]] = {}
    broken = []
    for path in files:
        try:
            for kept in _remembered(path, path.stat().st_mtime_ns, path.stat().st_size):
                by_episode.setdefault(kept.episode, []).append(kept)
        except (UserError, OSError) as error:
            broken.append(BrokenEpisode(str(path), str(error)))
    return by_episode, broken


def of_others(files: Sequence[Path], metas: Sequence[EpisodeMeta]) -> tuple[str, ...]:
    """For each file a sentence, where it explains other episodes than ``metas`` under the same ids."""
    digests: dict[str, set[str]] = {}
    for meta in metas:  # of several data sets, two of which may use one id
        digests.setdefault(meta.id, set()).add(meta.digest)
    told = []
    for path in files:
        by_episode, _ = gathered((path,))
        kept = [each for id in digests.keys() & by_episode.keys() for each in by_episode[id]]
        if count := sum(not any(_of(each, digest) for digest in digests[each.episode]) for each in kept):
            told.append(f"{count} rationales in {path} are of other episodes (their digests differ)")
    return tuple(told)


@lru_cache(maxsize=16)
def _remembered(path: Path, changed: int, size: int) -> tuple[KeptRationale, ...]:
    """As `read_rationales`; read once for every state of the file."""
    return read_rationales(path)


def fitting(kept: Sequence[KeptRationale], meta: EpisodeMeta) -> tuple[Rationale, ...]:
    """Those that were written for this very episode, as far as its steps go, in the order of their steps.

    Another episode may have the same id in another data set: where both digests are known they must agree.
    """
    own = [each for each in kept if _of(each, meta.digest)]
    said = [
        replace(each.rationale, stop=min(each.rationale.stop, meta.length), author=each.signed)
        for each in own
        if each.rationale.start < meta.length
    ]
    return tuple(sorted(said, key=lambda each: (each.start, each.stop)))


def _of(kept: KeptRationale, digest: str) -> bool:
    return not kept.digest or not digest or kept.digest == digest
