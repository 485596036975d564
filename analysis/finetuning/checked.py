"""Whether a learner can take every lesson: told before training, not where it comes up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from analysis.episodes import BrokenEpisode
from analysis.evaluation.rationale_truth import PARTS
from analysis.finetuning.episode_demonstrations import EpisodeDemonstrations, Lesson, Lessons
from models.errors import UserError
from models.refine.settings import Order
from models.types import Rationale

UNKNOWN = 0.2  # of a rationale's tokens: with more of them unknown, little is left to learn
NAMED = 5  # unknown words that are told


def check_rationales(learner: Any, lessons: Sequence[Lesson], order: Order) -> tuple[int, tuple[str, ...]]:
    """Tokens of the longest rationale, and what a person should know of all of them.

    Raises UserError for a rationale that cannot be written, by the name of its episode, or too many unknown words.
    """
    of = {id(each.rationale): each for each in lessons}  # one rationale may explain many steps
    said = [(each.episode, each.rationale) for each in of.values() if each.rationale is not None]
    lengths, unknown = [0], Counter[str]()
    for episode, rationale in said:
        try:
            lengths.append(len(learner.words(rationale, order)))
        except UserError as error:
            raise UserError(f"episode {episode!r}: {error}") from None
        unknown.update(learner.unknown(rationale))
    strange = _strange(unknown, sum(lengths), str(learner.files.folder))
    return max(lengths), (*strange, *_lacking([rationale for _, rationale in said]))


def fitting(learner: Any, demonstrations: EpisodeDemonstrations, lessons: Lessons, order: Order) -> Lessons:
    """``lessons`` but for the episodes of which the learner cannot take a step. Raises UserError where none is left."""
    firsts: dict[tuple[int, str], Lesson] = {}
    for lesson in lessons.lessons:
        firsts.setdefault((lesson.source, lesson.episode), lesson)
    unfit: dict[tuple[int, str], BrokenEpisode] = {}
    for key, lesson in firsts.items():
        try:
            learner.check(demonstrations.of(lesson), order)
        except UserError as error:
            path = demonstrations.episode(lesson).meta.source
            unfit[key] = BrokenEpisode(path, f"episode {lesson.episode!r}: {error}")
    if len(unfit) == len(firsts):  # if there are too few positions, the longest rationale is why
        longest = max(lessons.lessons, key=lambda each: len(each.rationale.text) if each.rationale is not None else 0)
        raise UserError(unfit[longest.source, longest.episode].reason)
    return lessons.without(unfit)


def _strange(unknown: Counter[str], tokens: int, base: str) -> tuple[str, ...]:
    if not unknown:
        return ()
    share, examples = unknown.total() / tokens, ", ".join(repr(word) for word, _ in unknown.most_common(NAMED))
    told = (
        f"{share:.1%} of the {tokens} tokens of all rationales are words that {base} does not know, such as {examples}"
    )
    if share > UNKNOWN:
        raise UserError(f"{told}; at most {UNKNOWN:.0%} may be: use words of its tokenizer, or a base that knows more")
    return (f"{told}; it reads them all as one unknown word",)


def _lacking(said: Sequence[Rationale]) -> tuple[str, ...]:
    """Of rationales in ReFineVLA's four parts those that say less."""
    four = [each.parts for each in said if any(part in each.parts for part in PARTS)]
    missing = {part: sum(not parts.get(part, "").strip() for parts in four) for part in PARTS}
    return tuple(f"{n} of {len(said)} rationales have no part {part!r}" for part, n in missing.items() if n)
