"""The one workspace that this server shows, with the episodes opened lately. Shared by pages and routes."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from analysis.types import Episode
from analysis.workspace import Workspace
from models.errors import UserError

if TYPE_CHECKING:
    from analysis.review import ReviewStore

WORKSPACE_VARIABLE = "VLA_LENS_WORKSPACE"
DEFAULT_WORKSPACE = Path(__file__).resolve().parents[1] / "workspace"
KEPT_EPISODES = 16

T = TypeVar("T")


@dataclass(frozen=True)
class Library:
    """A workspace and the episodes opened from it; safe to use from several threads."""

    workspace: Workspace
    _episodes: OrderedDict[tuple[str, str], Episode] = field(default_factory=OrderedDict, repr=False, compare=False)
    _reviews: list[ReviewStore] = field(default_factory=list, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def episode(self, dataset: str, id: str) -> Episode:
        """The episode, opened once. Raises UserError where the data set or the episode does not exist or is broken."""
        with self._lock:
            if (dataset, id) in self._episodes:
                self._episodes.move_to_end((dataset, id))
                return self._episodes[dataset, id]
            episode = self.workspace.episode(id, dataset)
            self._episodes[dataset, id] = episode
            if len(self._episodes) > KEPT_EPISODES:
                self._episodes.popitem(last=False)
            return episode

    def read(self, dataset: str, id: str, reading: Callable[[Episode], T]) -> T:
        """What ``reading`` makes of the episode. A file that was changed since it was opened is opened again, once."""
        try:
            return reading(self.episode(dataset, id))
        except UserError:
            self.forget(dataset, id)
        return reading(self.episode(dataset, id))

    def reviews(self) -> ReviewStore:
        """The store of reviews, opened once. Raises ReviewsUnavailable where it cannot be reached."""
        with self._lock:
            if not self._reviews:
                self._reviews.append(self.workspace.reviews)
            return self._reviews[0]

    def forget_reviews(self) -> None:
        """The next use opens the store again: its file may have been replaced, its server moved."""
        with self._lock:
            self._reviews.clear()

    def close(self) -> None:
        """At the server's end: the reviews lie in one file again, if they lie in a file."""
        with self._lock:
            for store in self._reviews:
                store.database.close()

    def forget(self, dataset: str, id: str) -> None:
        """The next use of this episode opens its file again."""
        with self._lock:
            self._episodes.pop((dataset, id), None)

    def forget_dataset(self, dataset: str) -> None:
        """The same for all episodes of a data set."""
        with self._lock:
            for key in [key for key in self._episodes if key[0] == dataset]:
                del self._episodes[key]


_current: dict[str, Library] = {}
_opening = threading.Lock()


def current() -> Library:
    """The library of this process: the folder named by ``VLA_LENS_WORKSPACE``, or ``workspace/`` in the repository.

    Raises UserError if that workspace cannot be opened.
    """
    path = os.environ.get(WORKSPACE_VARIABLE) or str(DEFAULT_WORKSPACE)
    with _opening:
        if path not in _current:
            _current[path] = Library(Workspace.open(path))
        return _current[path]
