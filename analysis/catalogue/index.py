"""All episodes of a workspace in one SQLite file: scanned once, then listed, searched and filtered at once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.catalogue.database import Damaged, alone, is_current, working
from analysis.catalogue.filter import COLUMNS, Filter, Order
from analysis.catalogue.overview import Overview, overview
from analysis.catalogue.page import STATES, IndexedEpisode, Page, entries_of, page_of, shown_scans, splits_in, where_of
from analysis.catalogue.rows import as_text
from analysis.catalogue.scan import Scanned, begin, finish, sweep, write_batches
from analysis.types import EpisodeMeta
from models.errors import UserError

LARGEST_PAGE = 10_000
ALL = Filter()
AS_LISTED = Order()


@dataclass(frozen=True)
class IndexState:
    """How much of a data set the index knows."""

    stamp: str  # of the files, when the scan began
    complete: bool  # False: the first scan is under way, or was interrupted


@dataclass(frozen=True)
class EpisodeIndex:
    """The index at ``path``, made when first used. Any number of threads and processes may use it.

    A damaged file, or one of another version of this program, is replaced by an empty one. Every method raises
    UserError where the file can be neither read nor made.
    """

    path: Path

    def update(
        self,
        dataset: str,
        source: Scanned,
        stamp: str,
        progress: Callable[[int], None] = lambda done: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Scans ``source`` unless that was done for the same ``stamp`` (see `files_stamp`); False if cancelled.

        Until the scan is complete, queries give what the one before found or, without one, what was found so far.
        What was interrupted begins anew. Others who update the same data set wait, then find it done. ``progress``
        is told the number of entries.
        """

        def work(connection: sqlite3.Connection) -> bool:
            scan = begin(connection, dataset, stamp)
            if not write_batches(connection, scan, source, progress, cancelled):
                return False
            if not is_current(self.path, connection):  # another process found it damaged
                raise Damaged
            finish(connection, scan, dataset)
            return True

        with alone(self.path, dataset, cancelled) as mine:
            if not mine:
                return False
            known = self.states().get(dataset)
            return known == IndexState(stamp, complete=True) or working(self.path, work)

    def keep(self, datasets: Iterable[str]) -> None:
        """Forgets all other data sets."""
        others = "DELETE FROM scans WHERE dataset NOT IN (SELECT value FROM json_each(?))"
        kept = json.dumps(list(datasets))
        working(self.path, lambda connection: sweep(connection, others, (kept,)))

    def states(self) -> Mapping[str, IndexState]:
        """What is known of each data set."""
        rows = working(self.path, lambda connection: connection.execute(STATES).fetchall())
        return {dataset: IndexState(stamp, bool(complete)) for dataset, stamp, complete in rows}

    def query(self, filter: Filter = ALL, order: Order = AS_LISTED, page: int = 0, size: int = 50) -> Page:
        """Page number ``page``, from 0, of ``size`` episodes each.

        Raises UserError for a page, size or column that there cannot be.
        """
        if page < 0 or not 0 <= size <= LARGEST_PAGE:
            raise UserError(
                f"page {page} of {size} episodes was asked for; expected 0 or more, of at most {LARGEST_PAGE}"
            )
        if order.column not in COLUMNS:
            raise UserError(f"episodes cannot be sorted by {order.column!r}; expected one of {', '.join(COLUMNS)}")
        return working(self.path, lambda connection: page_of(connection, filter, order, size, page * size))

    def splits(self, datasets: Sequence[str] = ()) -> tuple[str, ...]:
        """The names of the splits and filter masks of these data sets, of all of them unless some are named."""
        return working(self.path, lambda connection: splits_in(connection, datasets))

    def find(self, id: str, dataset: str | None = None) -> tuple[IndexedEpisode, ...]:
        """Every usable episode of this id, in the data set of that name or in all of them."""

        def work(connection: sqlite3.Connection) -> tuple[IndexedEpisode, ...]:
            shown = shown_scans(connection, () if dataset is None else (dataset,))
            query = "SELECT episode, scan FROM episodes WHERE id = ? AND broken IS NULL"
            rows = [row for row in connection.execute(query, (as_text(id),)) if row[1] in shown]
            found = entries_of(connection, rows, shown)
            return tuple(one for one in found if isinstance(one.entry, EpisodeMeta) and one.entry.id == id)

        return working(self.path, work)

    def overview(self, filter: Filter = ALL) -> Overview:
        """Counts, lengths, success and reasons over all episodes that pass ``filter``."""

        def work(connection: sqlite3.Connection) -> Overview:
            connection.execute("BEGIN")
            return overview(connection, *where_of(filter, shown_scans(connection, filter.datasets)))

        return working(self.path, work)
