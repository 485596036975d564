"""What the tests of reviews share: rationales, judgements and a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from analysis.review import Judgement, PartJudgement, Review, ReviewStore, Source, Submission
from analysis.review.database import open_database
from models.types import Rationale

GOOD = Judgement((PartJudgement("observation", "correct"), PartJudgement("planning", "correct")), "accept")
BAD = Judgement((PartJudgement("observation", "wrong", ("invented object",)),), "reject", "there is no cup")


def corrected(text: str, part: str = "planning") -> Judgement:
    return Judgement((PartJudgement(part, "partly", ("wrong order",), text),), "correct")


def sources(count: int, **changes) -> list[Source]:
    said = [Rationale({"observation": f"a block {n}", "planning": "lift it"}, 0, 4, "teacher") for n in range(count)]
    return [Source("data", f"episode {n}", "d16e57", "lift the block", one, **changes) for n, one in enumerate(said)]


@dataclass
class Clock:
    """Stands still until it is told to go on."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def open_store(address: str, clock: Clock) -> ReviewStore:
    return ReviewStore(open_database(address), clock)


def say(store: ReviewStore, item: str, annotator: str, judgement: Judgement, id: str = "") -> Review:
    return store.submit(Submission(id or f"{annotator}-on-{item}", item, annotator, judgement, 4.0))
