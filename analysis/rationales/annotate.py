"""A teacher's rationales for the episodes of a source: resumable, several questions at once, nothing dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.episodes import BrokenEpisode, OpenedSource
from analysis.rationales.clips import Per, clip, stretches
from analysis.rationales.in_threads import answered
from analysis.rationales.known_answers import UNANSWERED, KnownAnswers
from analysis.rationales.motion import speed
from analysis.rationales.rationale_file import ASIDE, SUFFIX, KeptRationale, RationaleFile
from analysis.rationales.seen_things import seen_things
from analysis.types import EpisodeMeta
from models.errors import UserError
from models.teachers.answer import check
from models.teachers.teacher import BadAnswer, Clip, DatedRationale, Refused, Teacher, Unanswered
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
    retry: bool = False  # also where an answer was kept aside


@dataclass(frozen=True)
class Annotated:
    """What a run did."""

    path: Path
    written: int  # rationales now
    earlier: int  # there already
    aside: int  # answers that could not be used, now, questions without an answer among them
    aside_earlier: int  # kept aside by an earlier run, and left alone
    unanswered: int
    reasons: Mapping[str, int]  # why answers were kept aside -> how many
    skipped: tuple[BrokenEpisode, ...] = ()
    no_speed: int = 0  # episodes whose keyframes were found from the grippers alone


@dataclass
class _Tally:
    total: int = 0
    written: int = 0
    earlier: int = 0
    aside: int = 0
    aside_earlier: int = 0
    unanswered: int = 0
    in_a_row: int = 0
    no_speed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return self.written + self.earlier + self.aside + self.aside_earlier


@dataclass(frozen=True)
class _Question:
    meta: EpisodeMeta
    clip: Clip
    origin: Mapping[str, str]


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
    entries = list(source.scan())
    skipped = [entry for entry in entries if isinstance(entry, BrokenEpisode)]
    listed = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
    metas = _chosen(listed, what)
    if not metas:
        raise UserError(f"there is no episode to explain; {len(skipped)} are broken")
    things = seen_things(source, listed)
    good, aside = RationaleFile(out), RationaleFile(out.with_name(out.name.removesuffix(SUFFIX) + ASIDE))
    known, known_aside = (KnownAnswers(file.path, teacher.author) for file in (good, aside))
    counted = {Per.STEP: sum(meta.length for meta in metas), Per.TRAJECTORY: len(metas)}
    tally = _Tally(total=counted.get(what.per, 0))  # keyframes are counted as episodes are opened

    def explained(question: _Question) -> Rationale:
        said = teacher.explain(question.clip)
        check(said.parts, question.clip, what.language, things)
        return said

    def settle(question: _Question, future: Future[Rationale]) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        start, stop = question.clip.start, question.clip.stop
        try:
            said = replace(future.result(), start=start, stop=stop, author=teacher.author)
        except BadAnswer as bad:
            first = not (known or known_aside or tally.written or tally.aside)
            _count(tally, bad)
            told = {**question.origin, UNANSWERED: "yes"} if isinstance(bad, Unanswered) else question.origin
            raw = Rationale({"answer": bad.answer[:20_000]}, start, stop, teacher.author)
            line = KeptRationale(question.meta.id, question.meta.digest, raw, told, now).as_json()
            aside.add({**line, "reason": bad.reason})
            if tally.in_a_row >= FAILURES_IN_A_ROW or (first and isinstance(bad, Refused)):
                which = "the first question" if first else f"{tally.in_a_row} questions in a row"
                hint = "; --retry asks again what was refused" if isinstance(bad, Refused) else ""
                raise UserError(f"{which} got no answer: {bad.reason}{hint}") from None
        else:
            tally.written, tally.in_a_row = tally.written + 1, 0
            given = said.time if isinstance(said, DatedRationale) else now
            good.add(KeptRationale(question.meta.id, question.meta.digest, said, question.origin, given).as_json())

    def questions() -> Iterator[_Question]:
        for meta in metas:
            try:
                episode = source.open(meta.id)
                wanted = stretches(episode, what.per)
                tally.total += 0 if what.per in counted else len(wanted)
                tally.no_speed += what.per is Per.KEYFRAME and speed(episode) is None
                cameras = what.cameras or episode.meta.cameras[:1]
                origin = _origin(teacher, what, cameras)
                for stretch in wanted:
                    if known.has(episode.meta, stretch, origin):
                        tally.earlier += 1
                    elif not what.retry and known_aside.has(episode.meta, stretch, origin):
                        tally.aside_earlier += 1
                    else:
                        yield _Question(episode.meta, clip(episode, *stretch, cameras, what.pictures), origin)
            except UserError as error:
                skipped.append(BrokenEpisode(meta.source, str(error)))

    try:
        for finished in answered(questions(), explained, what.parallel):
            trouble: UserError | None = None
            for question, future in finished:
                try:
                    settle(question, future)
                except UserError as error:  # the others that are done are kept all the same
                    trouble = error
            if trouble is not None:
                raise trouble
            if progress is not None:
                progress(tally.done, tally.total)
    except BaseException:  # an interruption, too: nobody is left to read what an attempt might bring
        getattr(teacher, "stop", lambda: None)()
        raise
    if progress is not None:
        progress(tally.done, tally.total)
    return Annotated(
        out, tally.written, tally.earlier, tally.aside, tally.aside_earlier, tally.unanswered, dict(tally.reasons),
        tuple(skipped), tally.no_speed,
    )  # fmt: skip


def _chosen(listed: Sequence[EpisodeMeta], what: Annotating) -> list[EpisodeMeta]:
    """Raises UserError for an episode that is not there, or a camera that none of those chosen has."""
    if unknown := [id for id in what.ids if id not in {meta.id for meta in listed}]:
        some = ", ".join(meta.id for meta in listed[:5])
        raise UserError(f"there is no episode {unknown[0]!r}; there are {some} ...")
    metas = [meta for meta in listed if not what.ids or meta.id in what.ids]
    cameras = {camera: None for meta in metas for camera in meta.cameras}
    if metas and (absent := [camera for camera in what.cameras if camera not in cameras]):
        raise UserError(f"no episode has a camera {absent[0]!r}; their cameras are {', '.join(cameras)}")
    return metas


def _origin(teacher: Teacher, what: Annotating, cameras: Sequence[str]) -> Mapping[str, str]:
    """What makes an answer the same as an earlier one, beside the episode and its steps."""
    return {
        **teacher.origin,
        "per": str(what.per),
        "language": what.language,
        "pictures": str(what.pictures),
        "cameras": ", ".join(cameras),
    }


def _count(tally: _Tally, bad: BadAnswer) -> None:
    tally.unanswered += isinstance(bad, Unanswered)
    tally.in_a_row = tally.in_a_row + 1 if isinstance(bad, (Unanswered, Refused)) else 0
    tally.aside += 1
    kind = bad.reason.split(":")[0]
    tally.reasons[kind] = tally.reasons.get(kind, 0) + 1
