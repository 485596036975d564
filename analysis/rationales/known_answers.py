"""What a teacher has been asked before, so that it is not asked again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from analysis.rationales.rationale_file import read_rationales
from analysis.types import EpisodeMeta

Origin = Mapping[str, str]
UNANSWERED = "unanswered"  # key of an origin whose question got no answer at all, and is asked again


class KnownAnswers:
    """The answers by ``author`` in a file that need not exist."""

    def __init__(self, path: Path, author: str) -> None:
        self._origins: dict[tuple[str, str, int, int], list[Origin]] = defaultdict(list)
        for kept in read_rationales(path) if path.exists() else ():
            said = kept.rationale
            if said.author == author and UNANSWERED not in kept.origin:
                self._origins[kept.episode, kept.digest, said.start, said.stop].append(kept.origin)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def has(self, meta: EpisodeMeta, stretch: tuple[int, int], origin: Origin) -> bool:
        """Whether one of this origin is there. What a line of an older file does not say is taken to agree."""
        found = self._origins.get((meta.id, meta.digest, *stretch), ())
        return any(all(known.get(key, value) == value for key, value in origin.items()) for known in found)
