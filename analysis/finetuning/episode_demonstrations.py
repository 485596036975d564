"""Steps of episodes as demonstrations for training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from analysis.episodes import BrokenEpisode, EpisodeSource
from analysis.rationales import TaughtSource
from analysis.rationales.review_note import is_note
from analysis.rationales.taught_episode import of_others
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from models.refine.demonstrations import Demonstration
from models.refine.settings import Order
from models.types import Observation, Rationale

OPEN = 16  # episodes kept open at a time


@dataclass(frozen=True)
class Lesson:
    """One step that can be learned."""

    source: int
    episode: str
    step: int
    rationale: Rationale | None


@dataclass(frozen=True)
class Lessons:
    """All steps to learn from, and what was left out."""

    lessons: tuple[Lesson, ...]
    episodes: tuple[EpisodeMeta, ...]
    held_out: tuple[EpisodeMeta, ...]
    silent: int  # steps left out because nothing explains them
    short: int  # steps left out because the chunk does not fit before the end
    broken: tuple[BrokenEpisode, ...]
    notes: tuple[str, ...] = ()  # what a person should know of the data

    @property
    def digests(self) -> dict[str, str]:
        return {meta.id: meta.digest for meta in self.episodes}

    def without(self, unfit: Mapping[tuple[int, str], BrokenEpisode]) -> Lessons:
        """The same but for those episodes, by number of the source and id, which then count as broken."""
        left = tuple(each for each in self.lessons if (each.source, each.episode) not in unfit)
        learned = {each.episode for each in left}
        episodes = tuple(meta for meta in self.episodes if meta.id in learned)
        return replace(self, lessons=left, episodes=episodes, broken=(*self.broken, *unfit.values()))


def gather(sources: Sequence[EpisodeSource], order: Order, chunk: int, hold_out: float, only: Sequence[str]) -> Lessons:
    """The steps of all episodes but those held out, with the rationale of each where the order asks for one.

    ``hold_out``: share of the episodes, at least one of them if it is not 0, chosen by their ids alone: every run on
    the same episodes holds the same ones out.
    Raises UserError where nothing is left to learn.
    """
    if not 0 <= hold_out < 1:
        raise UserError(f"the share of episodes to hold out is {hold_out}; it must be 0 or more and below 1")
    metas, broken = _listed(sources, only)
    by_chance = sorted((meta for _, meta in metas), key=lambda meta: hashlib.sha256(meta.id.encode()).digest())
    held = by_chance[: round(hold_out * len(metas)) or int(hold_out > 0)]
    lessons: list[Lesson] = []
    used, silent, short = [], 0, 0
    for number, meta in metas:
        if meta in held:
            continue
        try:
            episode = sources[number].open(meta.id)
        except UserError as error:
            broken.append(BrokenEpisode(meta.source, str(error)))
            continue
        last = episode.meta.length - chunk
        short += min(chunk - 1, episode.meta.length)
        said = [None] * (last + 1) if order is Order.ACT_ONLY else [rationale_at(episode, s) for s in range(last + 1)]
        own = [Lesson(number, meta.id, step, why) for step, why in enumerate(said)]
        kept = [each for each in own if order is Order.ACT_ONLY or each.rationale is not None]
        silent += len(own) - len(kept)
        lessons += kept
        used += [episode.meta] if kept else []
    files = dict.fromkeys(path for source in sources if isinstance(source, TaughtSource) for path in source.files)
    notes = of_others(tuple(files), [meta for _, meta in metas])
    if not lessons and silent:
        raise UserError(
            f"none of the {len(metas) - len(held)} episodes has a rationale{''.join(f'; {note}' for note in notes)}; "
            "write some with annotate, or tune with the order 'action only'"
        )
    if not lessons:
        raise UserError(f"there is nothing to learn: {len(metas)} episodes, {len(held)} held out, {len(broken)} broken")
    return Lessons(tuple(lessons), tuple(used), tuple(held), silent, short, tuple(broken), notes)


def rationale_at(episode: Episode, step: int) -> Rationale | None:
    """The rationale of the shortest stretch that covers ``step``; of several, the one that came last."""
    said = [each for each in episode.rationales if each.parts and not is_note(each)]
    covering = [each for each in said if each.start <= step < each.stop]
    return min(reversed(covering), key=lambda each: each.stop - each.start, default=None)


class EpisodeDemonstrations:
    """Every lesson once in an order drawn anew, again and again."""

    def __init__(
        self, sources: Sequence[EpisodeSource], lessons: Sequence[Lesson], chunk: int, camera: str | None, seed: int
    ) -> None:
        self._lessons, self._chunk, self._camera, self._seed = lessons, chunk, camera, seed
        self._sources = sources
        self._open = lru_cache(maxsize=OPEN)(lambda source, id: sources[source].open(id))
        self._order = lru_cache(maxsize=2)(self._drawn)

    def only(self, lessons: Sequence[Lesson]) -> EpisodeDemonstrations:
        """The same of fewer lessons."""
        return EpisodeDemonstrations(self._sources, lessons, self._chunk, self._camera, self._seed)

    def draw(self, number: int) -> Demonstration:
        epoch, place = divmod(number, len(self._lessons))
        return self.of(self._lessons[int(self._order(epoch)[place])])

    def episode(self, lesson: Lesson) -> Episode:
        opened: Episode = self._open(lesson.source, lesson.episode)
        return opened

    def of(self, lesson: Lesson) -> Demonstration:
        episode = self.episode(lesson)
        seen = episode.step(lesson.step).observation
        camera = self._camera or next(iter(seen.images))
        if camera not in seen.images:
            raise UserError(f"no camera {camera!r}; it has {', '.join(seen.images)}")
        actions = np.asarray(episode.actions[lesson.step : lesson.step + self._chunk], dtype=np.float64)
        observation = Observation({camera: seen.images[camera]}, seen.instruction, seen.state)
        return Demonstration(observation, actions, lesson.rationale)

    def _drawn(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._lessons))


def _listed(
    sources: Sequence[EpisodeSource], only: Sequence[str]
) -> tuple[list[tuple[int, EpisodeMeta]], list[BrokenEpisode]]:
    metas: list[tuple[int, EpisodeMeta]] = []
    broken: list[BrokenEpisode] = []
    for number, source in enumerate(sources):
        for entry in source.scan():
            if isinstance(entry, BrokenEpisode):
                broken.append(entry)
            elif not only or entry.id in only:
                metas.append((number, entry))
    found = {meta.id for _, meta in metas}
    if absent := [id for id in only if id not in found]:
        raise UserError(f"there is no episode {absent[0]!r} among the episodes given")
    return metas, broken
