"""What is reviewed, and what has been said about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from analysis.review.judgement import Judgement
from models.types import Rationale


@dataclass(frozen=True)
class Source:
    """One rationale of one episode, to be put into a project."""

    dataset: str  # name in the workspace
    episode: str  # id
    episode_digest: str
    instruction: str
    rationale: Rationale
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)  # see `analysis.review.scores`
    record: str = ""  # address of the run that wrote it; "" where it came with the data

    @property
    def digest(self) -> str:
        """First 32 hex digits of the sha256 of episode, steps, author and parts as JSON."""
        said = self.rationale
        where = self.episode_digest or [self.dataset, self.episode]
        content = [where, said.start, said.stop, said.author, list(said.parts.items())]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Item:
    """One rationale in a project."""

    id: str
    project: str  # id
    number: int  # from 0, in the order in which they were added
    overlap: int  # how many annotators it may have
    source: Source
    digest: str  # of the rationale


@dataclass(frozen=True)
class Draft:
    """A review that is not finished; ``content`` is whatever the page keeps."""

    item: str  # id
    annotator: str
    review: str  # id that the review will have
    content: Mapping[str, Any]  # JSON values
    revision: int  # the page counts up; an older one never replaces a newer one
    saved: datetime  # UTC


@dataclass(frozen=True)
class Assignment:
    """An item that an annotator has until ``expires``."""

    item: Item
    annotator: str
    expires: datetime  # UTC
    draft: Draft | None = None


@dataclass(frozen=True)
class Review:
    """One row of the store; never changed. The newest of an annotator on an item counts."""

    id: str  # made by the client
    item: str  # id
    project: str  # id
    annotator: str
    judgement: Judgement | None  # None: undone, and there was none before
    time: datetime  # UTC
    digest: str  # of the rationale that was judged
    tool: str  # name and version of the program that took it
    supersedes: str | None = None  # id of the annotator's review before
    undoes: str | None = None  # id of the review that this row takes back
    seconds: float | None = None  # that the annotator took
    origin: str = ""  # where an imported one came from


@dataclass(frozen=True)
class Adjudication:
    """A lead's decision about an item; the newest version counts. ``judgement`` None: taken back."""

    item: str  # id
    version: int  # from 1
    judgement: Judgement | None
    author: str
    time: datetime  # UTC
    digest: str
    tool: str


@dataclass(frozen=True)
class Gold:
    """The known right answer for an item; the newest version counts. ``judgement`` None: gold no longer."""

    item: str  # id
    version: int  # from 1
    judgement: Judgement | None
    author: str
    time: datetime  # UTC
    digest: str
    tool: str


@dataclass(frozen=True)
class Conflict:
    """An item whose annotators differ."""

    item: Item
    reviews: tuple[Review, ...]  # those that count
    parts: tuple[str, ...]  # whose verdicts differ
    overall: bool  # whether the overall verdicts differ
    corrections: tuple[str, ...]  # parts corrected to different texts
    adjudication: Adjudication | None  # the newest, also one that takes back
    open: bool  # not adjudicated, or reviewed again since


@dataclass(frozen=True)
class AnnotatorProgress:
    annotator: str
    reviews: int  # items with a review that counts
    leased: int  # items held now
    drafts: int
    accepted: int
    corrected: int
    rejected: int
    unsure: int
    seconds: float | None  # median time that a review took, of those that were timed
    first: datetime | None  # UTC
    last: datetime | None  # UTC


@dataclass(frozen=True)
class Progress:
    items: int
    begun: int  # items with at least one review that counts
    done: int  # items that have all the annotators they may have
    reviews: int  # that count
    wanted: int  # reviews when all is done
    leased: int  # places of items held now
    conflicts: int  # open ones
    adjudicated: int  # items
    gold: int  # items
    annotators: tuple[AnnotatorProgress, ...]
