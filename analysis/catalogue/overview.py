"""Numbers about many episodes at once, from the index alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BINS = 20
LISTED = 50


@dataclass(frozen=True)
class LengthBin:
    """How many episodes have ``start`` to ``stop`` - 1 steps."""

    start: int
    stop: int
    episodes: int


@dataclass(frozen=True)
class BrokenKind:
    """Broken episodes whose reasons differ in names and numbers only."""

    reason: str  # of one of them
    episodes: int


@dataclass(frozen=True)
class Overview:
    """What the episodes that pass a filter have in common."""

    episodes: int  # those that can be opened
    broken: int
    steps: int
    seconds: float
    succeeded: int
    failed: int
    unrecorded: int  # whether they succeeded
    with_rationale: int
    lengths: tuple[LengthBin, ...]  # of equal width, without gaps
    instructions: tuple[tuple[str, int], ...]  # the most frequent, and how often
    distinct_instructions: int
    broken_kinds: tuple[BrokenKind, ...]  # the most frequent first


def overview(connection: sqlite3.Connection, where: str, given: list[Any]) -> Overview:
    """The numbers for the rows of ``episodes`` for which ``where`` holds."""
    good = f"FROM episodes WHERE {where} AND broken IS NULL"
    numbers = connection.execute(
        f"SELECT count(*), total(length), total(duration), total(success), count(success), total(has_rationale) {good}",
        given,
    ).fetchone()
    episodes, steps, seconds, succeeded, recorded, rationales = numbers
    kinds = connection.execute(
        f"SELECT min(broken), count(*) FROM episodes WHERE {where} AND broken IS NOT NULL "
        "GROUP BY kind ORDER BY count(*) DESC, kind",
        given,
    ).fetchall()
    frequent = connection.execute(
        f"SELECT instruction, count(*) {good} GROUP BY instruction ORDER BY count(*) DESC, instruction LIMIT {LISTED}",
        given,
    ).fetchall()
    # several small queries: each is answered from an index, one large one would sort all rows
    (distinct,) = connection.execute(f"SELECT count(*) FROM (SELECT 1 {good} GROUP BY instruction)", given).fetchone()
    lengths = connection.execute(f"SELECT length, count(*) {good} GROUP BY length", given).fetchall()
    return Overview(
        episodes=episodes,
        broken=sum(count for _, count in kinds),
        steps=int(steps),
        seconds=seconds,
        succeeded=int(succeeded),
        failed=recorded - int(succeeded),
        unrecorded=episodes - recorded,
        with_rationale=int(rationales),
        lengths=_bins(dict(lengths)),
        instructions=tuple(frequent),
        distinct_instructions=distinct,
        broken_kinds=tuple(BrokenKind(reason, count) for reason, count in kinds),
    )


def _bins(counts: Mapping[int, int]) -> tuple[LengthBin, ...]:
    """Length in steps -> number of episodes, in at most BINS bins."""
    if not counts:
        return ()
    shortest, longest = min(counts), max(counts)
    width = (longest - shortest) // BINS + 1
    found = [0] * ((longest - shortest) // width + 1)
    for length, episodes in counts.items():
        found[(length - shortest) // width] += episodes
    starts = range(shortest, longest + 1, width)
    return tuple(LengthBin(start, start + width, episodes) for start, episodes in zip(starts, found, strict=True))
