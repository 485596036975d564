"""What came out: one rationale an item, as its reviews leave it, by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from analysis.review.item import Adjudication, Item, Review
from analysis.review.judgement import ACCEPT, CORRECT, REJECT, Judgement
from analysis.review.scores import differing
from models.errors import UserError
from models.types import Rationale

ALL, MAJORITY, ADJUDICATED = RULES = ("all", "majority", "adjudicated")
UNDECIDED = "undecided"
GOOD = (ACCEPT, CORRECT)


@dataclass(frozen=True)
class Rule:
    """When a rationale counts as accepted or corrected. An adjudication decides under each rule.

    ``all``: every review says so, and all leave the same text. ``majority``: more than half of the reviews say so, and
    more than half of these leave the same text of each part. ``adjudicated``: only where a lead decided.
    """

    name: str = MAJORITY
    least: int = 1  # reviews that an item needs, unless it was adjudicated

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise UserError(f"the rule is {self.name!r}; expected one of {', '.join(RULES)}")
        if self.least < 1:
            raise UserError(f"at least {self.least} reviews were asked for; expected 1 or more")


@dataclass(frozen=True)
class Final:
    """The outcome of one item."""

    item: Item
    outcome: str  # accept, correct, reject or undecided
    rationale: Rationale  # with its corrections, where the outcome is "correct"; else as it was
    rule: str
    annotators: tuple[str, ...]  # whose reviews count
    reviews: tuple[str, ...]  # their ids
    agreement: float | None  # share of pairs of reviews with the same overall verdict; None under two reviews
    adjudicated_by: str = ""
    time: datetime | None = None  # UTC; of the newest review or adjudication
    originals: Mapping[str, str] = field(default_factory=dict, hash=False)  # corrected part -> what it said

    @property
    def good(self) -> bool:
        """Whether it may be trained on."""
        return self.outcome in GOOD


MAJORITY_RULE = Rule()


def finals(
    items: Iterable[Item],
    reviews: Iterable[Review],
    adjudications: Mapping[str, Adjudication],
    rule: Rule = MAJORITY_RULE,
) -> tuple[Final, ...]:
    """The outcome of each item, in their order. ``reviews``: those that count (`ReviewStore.reviews`)."""
    by_item: dict[str, list[Review]] = {}
    for review in reviews:
        by_item.setdefault(review.item, []).append(review)
    return tuple(_final(item, by_item.get(item.id, []), adjudications.get(item.id), rule) for item in items)


def _final(item: Item, reviews: Sequence[Review], decided: Adjudication | None, rule: Rule) -> Final:
    said = [review.judgement for review in reviews if review.judgement is not None]
    settled = None if decided is None else decided.judgement
    outcome, parts = _by_rule(item, said, rule) if settled is None else _decided(item, settled)
    if not all(text.strip() for text in parts.values()):  # earlier versions took empty corrections
        outcome, parts = UNDECIDED, {}
    original = item.source.rationale
    times = [review.time for review in reviews] + ([] if decided is None else [decided.time])
    return Final(
        item=item,
        outcome=outcome,
        rationale=replace(original, parts={**original.parts, **parts}) if outcome == CORRECT else original,
        rule=rule.name,
        annotators=tuple(review.annotator for review in reviews),
        reviews=tuple(review.id for review in reviews),
        agreement=1 - differing([one.overall for one in said]) if len(said) > 1 else None,
        adjudicated_by="" if decided is None else decided.author,
        time=max(times, default=None),
        originals={part: original.parts[part] for part in parts} if outcome == CORRECT else {},
    )


def _decided(item: Item, judgement: Judgement) -> tuple[str, dict[str, str]]:
    if judgement.overall in GOOD:
        return judgement.overall, judgement.corrections
    return (REJECT if judgement.overall == REJECT else UNDECIDED), {}


def _by_rule(item: Item, said: Sequence[Judgement], rule: Rule) -> tuple[str, dict[str, str]]:
    if rule.name == ADJUDICATED or len(said) < rule.least:
        return UNDECIDED, {}
    good = [one for one in said if one.overall in GOOD]
    bad = sum(one.overall == REJECT for one in said)
    enough = len(good) == len(said) if rule.name == ALL else 2 * len(good) > len(said)
    if not enough:
        rejected = bad == len(said) if rule.name == ALL else 2 * bad > len(said)
        return (REJECT if rejected else UNDECIDED), {}
    corrected: dict[str, str] = {}
    for part, original in item.source.rationale.parts.items():
        text, votes = Counter(one.corrections.get(part, original) for one in good).most_common(1)[0]
        if votes < len(good) if rule.name == ALL else 2 * votes <= len(good):
            return UNDECIDED, {}
        if text != original:
            corrected[part] = text
    return (CORRECT if corrected else ACCEPT), corrected
