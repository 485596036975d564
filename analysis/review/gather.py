"""The rationales of a workspace that a project is made of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from analysis.episodes import BrokenEpisode
from analysis.rationales.review_note import is_note
from analysis.records import Run
from analysis.review.item import Source
from analysis.review.project import DISAGREEMENT, GROUNDING, SURPRISE, Project, ProjectSettings, Selection
from analysis.review.scores import grounding, review_disagreement, scored, surprise
from analysis.review.store import ReviewStore
from analysis.types import Episode, EpisodeMeta
from analysis.workspace import Workspace
from models.errors import UserError

PREDICT = "predict"  # method of the runs whose rationales are taken


@dataclass(frozen=True)
class Gathered:
    sources: tuple[Source, ...]
    skipped: tuple[BrokenEpisode, ...]  # what could not be read
    found: int  # before the sample was drawn


def gather(
    workspace: Workspace,
    selection: Selection,
    store: ReviewStore | None = None,
    progress: Callable[[int], None] = lambda episodes: None,
) -> Gathered:
    """Reads the selected episodes and runs, and scores what they said.

    ``store``: whose earlier reviews count as disagreement. Raises UserError for a data set or run that is not there.
    """
    if selection.every < 1 or (selection.sample is not None and selection.sample < 1):
        raise UserError("a sample, and the steps from one rationale of a run to the next, have to be 1 or more")
    for address in selection.records:
        workspace.records.at(address)
    skipped: list[BrokenEpisode] = []
    sources = list(_sources(workspace, selection, skipped, progress))
    found = len(sources)
    if selection.sample is not None and selection.sample < found:
        drawn = random.Random(selection.seed).sample(range(found), selection.sample)
        sources = [sources[place] for place in sorted(drawn)]
    known = {} if store is None else review_disagreement(store.all_reviews())
    apart = scored(sources, known)
    scores = [dict(one.scores) | ({DISAGREEMENT: apart[one.digest]} if one.digest in apart else {}) for one in sources]
    made = tuple(replace(one, scores=given) for one, given in zip(sources, scores, strict=True))
    return Gathered(made, tuple(skipped), found)


def create_project(workspace: Workspace, settings: ProjectSettings, selection: Selection, author: str) -> Project:
    """A project of what `gather` finds. Raises UserError if that is nothing."""
    store = workspace.reviews
    return make_project(store, settings, selection, gather(workspace, selection, store), author)


def make_project(
    store: ReviewStore, settings: ProjectSettings, selection: Selection, gathered: Gathered, author: str
) -> Project:
    """A project of what was gathered by ``selection``. Raises UserError if that is nothing."""
    if not gathered.sources:
        why = "take more data sets, episodes or authors"
        if gathered.skipped:
            first = gathered.skipped[0]
            why = f"{len(gathered.skipped)} episodes cannot be read, the first ({first.path}) because: {first.reason}"
        raise UserError(f"no rationale fits this selection; {why}")
    return store.create_project(settings, gathered.sources, author, selection)


def _sources(
    workspace: Workspace, selection: Selection, skipped: list[BrokenEpisode], progress: Callable[[int], None]
) -> Iterator[Source]:
    done = 0
    for dataset in selection.datasets or [entry.name for entry in workspace.datasets()]:
        for entry in workspace.episodes(dataset):
            if isinstance(entry, BrokenEpisode):
                skipped.append(entry)
            elif not selection.episodes or entry.id in selection.episodes:
                try:
                    yield from _of_episode(workspace, dataset, entry, selection)
                except UserError as error:
                    skipped.append(BrokenEpisode(entry.source, str(error)))
                done += 1
                progress(done)


def _of_episode(workspace: Workspace, dataset: str, meta: EpisodeMeta, selection: Selection) -> list[Source]:
    """All or none: an episode that breaks off is named, not half taken."""
    episode = workspace.episode(meta.id, dataset)
    where = dataset, meta.id, episode.meta.digest, episode.meta.instruction
    said = episode.rationales if selection.from_data else ()
    out = [Source(*where, one) for one in said if not selection.authors or one.author in selection.authors]
    if selection.from_records and episode.meta.digest:
        for run in workspace.records.runs(episode=episode.meta.digest):
            wanted = not selection.records or run.address in selection.records
            author = not selection.authors or run.key.checkpoint in selection.authors
            if wanted and author and run.key.method == PREDICT:
                out += _of_run(run, episode, selection.every, where)
    return [one for one in out if one.rationale.text.strip() and not is_note(one.rationale)]


def _of_run(run: Run, episode: Episode, every: int, where: tuple[str, str, str, str]) -> list[Source]:
    out = []
    for index in sorted(run.steps_done())[::every]:
        prediction = run.read(index)
        if prediction.rationale is None or index >= episode.meta.length:
            continue
        said = replace(prediction.rationale, start=index, stop=index + 1, author=run.key.checkpoint)
        numbers = {
            SURPRISE: surprise(prediction),
            GROUNDING: grounding(prediction, episode.step(index), said) if prediction.attention else None,
        }
        scores = {name: value for name, value in numbers.items() if value is not None}
        out.append(Source(*where, said, scores, run.address))
    return out
