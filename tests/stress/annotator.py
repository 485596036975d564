"""An annotator as a process of its own: takes items, reviews them, and writes down what was acknowledged."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from analysis.review import (
    Assignment,
    ItemTaken,
    Judgement,
    PartJudgement,
    ReviewStore,
    ReviewsUnavailable,
    Submission,
)

PATIENCE = 600.0  # seconds until the database is back


@dataclass(frozen=True)
class Habits:
    """How a process behaves; shares of its reviews."""

    name: str
    seed: int
    reviews: int  # then it stops
    twice: float = 0.05  # sent a second time, as after a lost answer
    undone: float = 0.03
    drafts: float = 0.1  # saved as a draft before
    late: float = 0.02  # sent when the lease has run out
    pause: float = 0.0  # seconds between two


def annotate(address: str, project: str, habits: Habits, log: Path) -> None:
    """Reviews until it has done its share or nothing is left.

    A line of ``log`` is ``id item`` of a review, once it was acknowledged.
    """
    store, rng = _patiently(lambda: ReviewStore.open(address)), random.Random(habits.seed)
    done = 0
    with log.open("a", buffering=1) as acknowledged:
        while done < habits.reviews:
            found = _patiently(lambda: store.next_items(project, habits.name))
            if not found:
                if not _anything_left(store, project):
                    return
                time.sleep(0.05)  # others hold what is left
                continue
            done += _review(store, found[0], habits, rng, acknowledged)
            time.sleep(habits.pause)


def judgement(item: str, name: str) -> Judgement:
    """What annotator ``name`` says about an item: told from the two, so that it can be checked later."""
    verdict = ("correct", "partly", "wrong")[hash_of(item, name) % 3]
    return Judgement((PartJudgement("observation", verdict),), "accept", f"{name} on {item} 🤖")


def hash_of(*texts: str) -> int:
    return sum(ord(sign) * (place + 1) for place, sign in enumerate(" ".join(texts)))


def _review(store: ReviewStore, given: Assignment, habits: Habits, rng: random.Random, log: object) -> int:
    item = given.item.id
    sent = Submission(uuid4().hex, item, habits.name, judgement(item, habits.name), rng.random() * 60)
    if rng.random() < habits.drafts:
        _patiently(lambda: store.save_draft(item, habits.name, sent.id, {"comment": "later"}, 1))
    if rng.random() < habits.late:
        time.sleep(max(0.0, given.expires.timestamp() - time.time()) + 0.01)
    try:
        _patiently(lambda: store.submit(sent))
        _write(log, f"{sent.id} {item}")
        if rng.random() < habits.twice:
            _patiently(lambda: store.submit(sent))
    except ItemTaken:
        return 0
    if rng.random() < habits.undone:
        undo = uuid4().hex
        _patiently(lambda: store.undo(sent.id, habits.name, undo))
        _write(log, f"{undo} {item}")
        return 0
    return 1


def _write(log: object, line: str) -> None:
    os.write(log.fileno(), f"{line}\n".encode())  # with the system, so that it outlives this process


def _patiently(work):
    """As a page does: the same again until the database answers."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except ReviewsUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _anything_left(store: ReviewStore, project: str) -> bool:
    told = _patiently(lambda: store.progress(project))
    return told.leased > 0
