"""Episodes with the rationales that people let pass, as a source like any other: for training and for export."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from analysis import __version__
from analysis.episodes import BrokenEpisode
from analysis.rationales.review_note import NOTE
from analysis.review.final import MAJORITY_RULE, Final, Rule, finals
from analysis.types import Episode, EpisodeMeta, Step
from analysis.workspace import Workspace
from models.errors import UserError
from models.types import Rationale


@dataclass(frozen=True)
class ReviewedEpisode:
    """Another episode whose rationales are the given ones."""

    episode: Episode
    meta: EpisodeMeta
    rationales: tuple[Rationale, ...]

    @property
    def actions(self) -> Float[np.ndarray, "T D"]:
        """Robot units, named in ``meta.action_units``."""
        return self.episode.actions

    @property
    def states(self) -> Float[np.ndarray, "T S"] | None:
        """Units: ``meta.state_units``."""
        return self.episode.states

    def step(self, index: int) -> Step:
        return self.episode.step(index)

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self.episode.frame(camera, index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        return self.episode.encoded_frame(camera, index)


@dataclass(frozen=True)
class ReviewedSource:
    """The episodes of a workspace that have accepted or corrected rationales, with these and no others.

    ``notes``: each is followed by a rationale of author ``review`` whose one part says, as JSON, how it was reviewed;
    for export, not for training. Episodes of two data sets with the same id are called ``data set/id``.
    """

    workspace: Workspace
    finals: tuple[Final, ...]
    notes: bool = False
    _known: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def places(self) -> Mapping[str, tuple[str, str]]:
        """Id -> data set, and id there."""
        if not self._known:
            wanted = dict.fromkeys((f.item.source.dataset, f.item.source.episode) for f in self.finals if f.good)
            ids = [episode for _, episode in wanted]
            for dataset, episode in wanted:
                self._known[f"{dataset}/{episode}" if ids.count(episode) > 1 else episode] = (dataset, episode)
        return self._known

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """In the order of the project."""
        for id in self.places:
            try:
                yield self.open(id).meta
            except UserError as error:
                yield BrokenEpisode(id, str(error))

    def open(self, id: str) -> Episode:
        """Raises UserError if there is none, or if it is not the episode any more whose rationales were reviewed."""
        if id not in self.places:
            raise UserError(f"no reviewed rationale of an episode {id!r} was accepted or corrected")
        dataset, name = self.places[id]
        episode = self.workspace.episode(name, dataset)
        mine = [f for f in self.finals if f.good and (f.item.source.dataset, f.item.source.episode) == (dataset, name)]
        for one in mine:
            if one.item.source.episode_digest != episode.meta.digest:
                raise UserError(f"episode {name!r} of {dataset} has changed since its rationales were reviewed")
        said = [one for final in mine for one in _said(final, self.notes)]
        return ReviewedEpisode(episode, replace(episode.meta, id=id, has_rationale=True), tuple(said))

    @property
    def root(self) -> Path:
        """Where nothing may be exported to."""
        return self.workspace.path / "records"


def reviewed_source(
    workspace: Workspace, project: str, rule: Rule = MAJORITY_RULE, datasets: Iterable[str] = (), notes: bool = False
) -> ReviewedSource:
    """What a project leaves to train on: accepted and corrected rationales only, by ``rule``.

    ``datasets``: of these only. Raises UserError for a project that is not there, or that leaves nothing.
    """
    found = project_finals(workspace, project, rule)
    wanted = set(datasets)
    kept = tuple(one for one in found if not wanted or one.item.source.dataset in wanted)
    if not any(one.good for one in kept):
        raise UserError(
            f"the project leaves no rationale by the rule {rule.name!r} with at least {rule.least} reviews: of "
            f"{len(kept)} none is accepted or corrected yet"
        )
    return ReviewedSource(workspace, kept, notes)


def project_finals(workspace: Workspace, project: str, rule: Rule = MAJORITY_RULE) -> tuple[Final, ...]:
    """The outcome of each item of a project. Raises UserError for a project that is not there."""
    store = workspace.reviews
    store.project(project)
    return finals(store.items(project), store.reviews(project), store.adjudications(project), rule)


def final_rationales(
    workspace: Workspace, project: str, rule: Rule = MAJORITY_RULE
) -> dict[tuple[str, str], tuple[Rationale, ...]]:
    """(data set, episode id) -> its accepted and corrected rationales, corrections applied."""
    out: dict[tuple[str, str], tuple[Rationale, ...]] = {}
    for one in project_finals(workspace, project, rule):
        if one.good:
            key = (one.item.source.dataset, one.item.source.episode)
            out[key] = (*out.get(key, ()), one.rationale)
    return out


def note_of(final: Final) -> dict[str, object]:
    """How a rationale was reviewed, as JSON values."""
    return {
        "verdict": final.outcome,
        "rule": final.rule,
        "annotators": list(final.annotators),
        "reviews": list(final.reviews),
        "agreement": final.agreement,
        "adjudicated_by": final.adjudicated_by,
        "originals": dict(final.originals),
        "rationale_digest": final.item.digest,
        "rationale_author": final.item.source.rationale.author,
        "project": final.item.project,
        "time": None if final.time is None else final.time.isoformat(),
        "tool": f"vla-lens {__version__}",
    }


def _said(final: Final, notes: bool) -> list[Rationale]:
    if not notes:
        return [final.rationale]
    text = json.dumps(note_of(final))
    return [final.rationale, Rationale({NOTE: text}, final.rationale.start, final.rationale.stop, NOTE)]
