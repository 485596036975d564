"""A source of episodes behind a remote root: a local format's source on the stand-in, but for addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes.file_bytes import Remote, Unreachable, remote_of
from analysis.episodes.source import BrokenEpisode, EpisodeSource
from analysis.types import Episode, EpisodeMeta, Step
from models.errors import UserError
from models.types import Rationale

LISTING_AGE = 60.0  # seconds for which a list of remote files is taken to hold


class RemoteSource:
    """Not a format of its own: ``inner`` reads the stand-in."""

    def __init__(self, root: Path, inner: EpisodeSource) -> None:
        remote = remote_of(root)
        assert remote is not None
        self.root, self._inner, self._remote = root, inner, remote

    @classmethod
    def handles(cls, path: Path) -> bool:
        return remote_of(path) is not None

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Lists the remote files again where the list is older than a minute.

        Raises UserError if that fails, and as soon as the storage does not answer: what it holds is not broken then.
        """
        self._remote.refresh(LISTING_AGE)
        before = self._remote.failures
        with _addresses(self._remote):
            for entry in self._inner.scan():
                if isinstance(entry, BrokenEpisode) and self._remote.failures > before:
                    raise Unreachable(self._remote.said(entry.reason))
                if isinstance(entry, BrokenEpisode):
                    yield BrokenEpisode(self._remote.said(entry.path), self._remote.said(entry.reason))
                else:
                    yield replace(entry, source=self._remote.said(entry.source))

    def expect(self, id: str, source: str) -> None:
        """Says where an earlier scan found an episode: see `Hdf5Source.expect`."""
        if hasattr(self._inner, "expect"):
            self._inner.expect(id, self._remote.stood_in(source))

    def open(self, id: str) -> Episode:
        with _addresses(self._remote):
            inner = self._inner.open(id)
        meta = replace(inner.meta, source=self._remote.said(inner.meta.source))
        opened = RemoteEpisode(meta, inner.actions, inner.states, inner.rationales, inner, self._remote)
        return cast(Episode, opened)


@dataclass(frozen=True)
class RemoteEpisode:
    """An episode whose frames are fetched when they are asked for."""

    meta: EpisodeMeta
    actions: Float[np.ndarray, "T D"]  # units: meta.action_units
    states: Float[np.ndarray, "T S"] | None  # units: meta.state_units
    rationales: tuple[Rationale, ...]
    inner: Episode = field(repr=False)
    remote: Remote = field(repr=False)

    def step(self, index: int) -> Step:
        with _addresses(self.remote):
            return self.inner.step(index)

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        with _addresses(self.remote):
            return self.inner.frame(camera, index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        with _addresses(self.remote):
            return self.inner.encoded_frame(camera, index)


@contextmanager
def _addresses(remote: Remote) -> Iterator[None]:
    """What is said about the stand-in is said about the address."""
    try:
        yield
    except UserError as error:
        said = remote.said(str(error))
        if said == str(error):
            raise
        raise (Unreachable if isinstance(error, Unreachable) else UserError)(said) from None
