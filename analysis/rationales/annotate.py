"""A teacher's rationales for the episodes of a source: resumable, several questions at once, nothing dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.episodes import BrokenEpisode, OpenedSource
from analysis.rationales.clips import Per, clip, stretches
from analysis.rationales.motion import speed
from analysis.rationales.rationale_file import ASIDE, SUFFIX, KeptRationale, RationaleFile, read_rationales
from analysis.rationales.seen_things import seen_things
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from models.teachers.answer import check
from models.teachers.teacher import BadAnswer, Clip, Teacher, Unanswered
from models.types import Rationale

FAILURES_IN_A_ROW = 3  # questions without an answer after which asking further makes no sense


@dataclass(frozen=True)
class Annotating:
    """What to explain, and how carefully answers are read."""

    per: Per = Per.STEP
    cameras: tuple[str, ...] = ()  # empty: the first of each episode
    pictures: int = 4  # moments of a stretch that the teacher is shown
    language: str = "en"  # or "any"
    parallel: int = 4  # questions at once
    ids: tuple[str, ...] = ()  # empty: all episodes
    retry: bool = False  # ask again where an answer was kept aside


@dataclass(frozen=True)
class Annotated:
    """What a run did."""

    path: Path
    written: int  # rationales now
    earlier: int  # there already
    aside: int  # answers that could not be used, now
    unanswered: int
    reasons: Mapping[str, int]  # why answers were kept aside -> how many
    skipped: tuple[BrokenEpisode, ...] = ()
    no_speed: int = 0  # episodes whose keyframes were found from the grippers alone


@dataclass
class _Tally:
    written: int = 0
    earlier: int = 0
    aside: int = 0
    unanswered: int = 0
    in_a_row: int = 0
    no_speed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Question:
    meta: EpisodeMeta
    clip: Clip


def annotate(
    source: OpenedSource,
    teacher: Teacher,
    out: Path,
    what: Annotating,
    progress: Callable[[int, int], None] | None = None,
) -> Annotated:
    """Writes ``out``, JSON lines of rationales, and beside it ``NAME.aside.jsonl`` with the answers that are none.

    Run again, it asks only what is not in either file. Raises UserError if nothing can be asked, and where the
    endpoint refuses or is silent; everything answered until then is kept.
    """
    if out.suffix != SUFFIX or out.name.endswith(ASIDE):
        raise UserError(f"rationales are written to {out}; expected a name that ends in {SUFFIX}")
    if what.parallel < 1 or what.pictures < 1:
        raise UserError("questions at once and pictures a question must be 1 or more")
    metas, skipped = _chosen(source, what.ids)
    if not metas:
        raise UserError(f"there is no episode to explain; {len(skipped)} are broken")
    things = seen_things(source, metas)
    good, aside = RationaleFile(out), RationaleFile(out.with_name(out.name.removesuffix(SUFFIX) + ASIDE))
    done = _known(out, teacher) | (set() if what.retry else _known_aside(aside.path, teacher))
    tally = _Tally()
    known = {Per.STEP: sum(meta.length for meta in metas), Per.TRAJECTORY: len(metas)}
    total = known.get(what.per, 0)  # keyframes are counted as episodes are opened

    def explained(question: _Question) -> Rationale:
        said = teacher.explain(question.clip)
        check(said.parts, question.clip, what.language, things)
        return said

    def settle(future: Future[Rationale], question: _Question) -> None:
        origin = {**teacher.origin, "per": str(what.per)}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            said = replace(future.result(), start=question.clip.start, stop=question.clip.stop, author=teacher.author)
        except BadAnswer as bad:
            tally.unanswered += isinstance(bad, Unanswered)
            tally.in_a_row = tally.in_a_row + 1 if isinstance(bad, Unanswered) else 0
            tally.aside += 1
            kind = bad.reason.split(":")[0]
            tally.reasons[kind] = tally.reasons.get(kind, 0) + 1
            aside.add(_aside_line(question, teacher, origin, now, bad))
            if tally.in_a_row >= FAILURES_IN_A_ROW:
                raise UserError(f"{tally.in_a_row} questions in a row got no answer: {bad.reason}") from None
        else:
            tally.written, tally.in_a_row = tally.written + 1, 0
            good.add(KeptRationale(question.meta.id, question.meta.digest, said, origin, now).as_json())

    def questions() -> Iterator[_Question]:
        nonlocal total
        for meta in metas:
            try:
                episode = source.open(meta.id)
                asked = _open_stretches(episode, what, done)
            except UserError as error:
                skipped.append(BrokenEpisode(meta.source, str(error)))
                continue
            tally.earlier += asked[1]
            tally.no_speed += what.per is Per.KEYFRAME and speed(episode) is None
            total += 0 if what.per in known else len(asked[0]) + asked[1]
            cameras = what.cameras or episode.meta.cameras[:1]
            for start, stop in asked[0]:
                yield _Question(episode.meta, clip(episode, start, stop, cameras, what.pictures))

    with ThreadPoolExecutor(what.parallel) as pool:
        running: dict[Future[Rationale], _Question] = {}
        try:
            for question in questions():
                running[pool.submit(explained, question)] = question
                if len(running) >= 2 * what.parallel:
                    _settle_some(running, settle)
                if progress is not None:
                    progress(tally.written + tally.aside + tally.earlier, total)
            while running:
                _settle_some(running, settle)
                if progress is not None:
                    progress(tally.written + tally.aside + tally.earlier, total)
        finally:
            for future in running:
                future.cancel()
    return Annotated(
        out,
        tally.written,
        tally.earlier,
        tally.aside,
        tally.unanswered,
        dict(tally.reasons),
        tuple(skipped),
        tally.no_speed,
    )


def _settle_some(
    running: dict[Future[Rationale], _Question], settle: Callable[[Future[Rationale], _Question], None]
) -> None:
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    trouble: UserError | None = None
    for future in finished:
        question = running.pop(future)
        try:
            settle(future, question)
        except UserError as error:  # the others that are done are kept all the same
            trouble = error
    if trouble is not None:
        raise trouble


def _chosen(source: OpenedSource, ids: Sequence[str]) -> tuple[list[EpisodeMeta], list[BrokenEpisode]]:
    entries = list(source.scan())
    metas = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
    if unknown := [id for id in ids if id not in {meta.id for meta in metas}]:
        raise UserError(f"there is no episode {unknown[0]!r}; there are {', '.join(meta.id for meta in metas[:5])} ...")
    return [meta for meta in metas if not ids or meta.id in ids], [e for e in entries if isinstance(e, BrokenEpisode)]


def _open_stretches(
    episode: Episode, what: Annotating, done: set[tuple[str, str, int, int]]
) -> tuple[list[tuple[int, int]], int]:
    """Stretches that have no answer yet, and how many have one."""
    wanted = stretches(episode, what.per)
    meta = episode.meta
    left = [each for each in wanted if (meta.id, meta.digest, *each) not in done]
    return left, len(wanted) - len(left)


def _known(path: Path, teacher: Teacher) -> set[tuple[str, str, int, int]]:
    """What this teacher has explained already: episode, digest, start, stop."""
    if not path.exists():
        return set()
    kept = read_rationales(path)
    mine = [each for each in kept if each.rationale.author == teacher.author and _same(each.origin, teacher)]
    return {(each.episode, each.digest, each.rationale.start, each.rationale.stop) for each in mine}


def _known_aside(path: Path, teacher: Teacher) -> set[tuple[str, str, int, int]]:
    """Likewise where the answer was none; questions that got no answer at all are asked again."""
    if not path.exists():
        return set()
    kept = read_rationales(path)
    mine = [each for each in kept if each.rationale.author == teacher.author and _same(each.origin, teacher)]
    return {
        (each.episode, each.digest, each.rationale.start, each.rationale.stop)
        for each in mine
        if each.origin.get("unanswered") != "yes"
    }


def _same(origin: Mapping[str, str], teacher: Teacher) -> bool:
    return all(origin.get(key) == value for key, value in teacher.origin.items())


def _aside_line(
    question: _Question, teacher: Teacher, origin: Mapping[str, str], now: str, bad: BadAnswer
) -> dict[str, Any]:
    told = {**origin, "unanswered": "yes"} if isinstance(bad, Unanswered) else dict(origin)
    said = Rationale({"answer": bad.answer[:20_000]}, question.clip.start, question.clip.stop, teacher.author)
    line = KeptRationale(question.meta.id, question.meta.digest, said, told, now).as_json()
    return {**line, "reason": bad.reason}
