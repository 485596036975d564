"""The proof that no review is lost: ``python -m tests.stress.reviews`` (``--small`` for a short one).

Prints one line a run. It ends with exit code 1 at the first promise that is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import NoPostgres, Postgres
from tests.stress.crowd import crowd
from tests.stress.killed import killed


@dataclass(frozen=True)
class Size:
    annotators: int
    reviews: int  # of each
    rounds: int  # of kills
    scarce: int  # items that all want at once


FULL = Size(annotators=20, reviews=200, rounds=50, scarce=60)
SMALL = Size(annotators=4, reviews=6, rounds=2, scarce=4)
OVERLAP = 3


def many_reviews(address: str, folder: Path, size: Size) -> str:
    """More places than reviews, so that each annotator gets all of theirs in; some let their lease run out."""
    wanted = size.annotators * size.reviews
    items = wanted // OVERLAP + size.reviews
    found, took = crowd(address, folder, size.annotators, size.reviews, items, OVERLAP, lease=5.0)
    assert found.counting == wanted, f"{found.counting} reviews count; {wanted} were made"
    return (
        f"{size.annotators} annotators x {size.reviews} reviews: {found.acknowledged} rows acknowledged, all there "
        f"once, {found.counting} count, no item over its overlap of {OVERLAP}; {wanted / took:.0f} reviews a second"
    )


def scarce_items(address: str, folder: Path, size: Size) -> str:
    """Fewer places than everybody wants, and leases of a second: all places are filled, none twice."""
    found, _ = crowd(address, folder, size.annotators, size.reviews, size.scarce, OVERLAP, lease=1.0)
    assert found.counting == size.scarce * OVERLAP, f"{found.counting} of {size.scarce * OVERLAP} places are filled"
    return (
        f"{size.annotators} annotators after {size.scarce} items with leases of 1 s: {found.counting} places of "
        f"{size.scarce * OVERLAP} filled, no item over its overlap"
    )


def kills(address: str, folder: Path, size: Size, server: Postgres | None) -> str:
    told = killed(address, folder, size.rounds, seed=7, server=server)
    what = "writers" if server is None else "writers and server"
    return (
        f"kill -9 of {what} in {told.rounds} rounds: {told.found.acknowledged} rows acknowledged, none lost, none "
        f"twice ({told.found.stored} stored), the database opened clean after each"
    )


def runs(name: str, size: Size, new: Callable[[Path], str], server: Postgres | None) -> Iterator[str]:
    """Each on a database of its own; a line for each."""
    for run in (many_reviews, scarce_items):
        with tempfile.TemporaryDirectory() as folder:
            yield f"{name}: {run(new(Path(folder)), Path(folder), size)}"
    with tempfile.TemporaryDirectory() as folder:
        yield f"{name}: {kills(new(Path(folder)), Path(folder), size, server)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few annotators and rounds")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    asked = parser.parse_args()
    size, began = SMALL if asked.small else FULL, time.monotonic()
    if asked.only != "postgresql":
        for line in runs("SQLite", size, lambda folder: str(folder / "reviews.sqlite"), None):
            print(f"[{time.monotonic() - began:6.0f} s] {line}", flush=True)
    if asked.only != "sqlite":
        try:
            server = Postgres.create()
        except NoPostgres as reason:
            print(f"PostgreSQL: not run: {reason}", file=sys.stderr)
            return 1
        try:
            for line in runs("PostgreSQL", size, lambda folder: server.database(), server):
                print(f"[{time.monotonic() - began:6.0f} s] {line}", flush=True)
        finally:
            server.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
