"""A run to look through: its columns, kept beside the store and refreshed from it, with pages, counts and tiles."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bioclip_core.findings import Findings
from bioclip_core.progress import Progress, logged
from bioclip_plugin.browsing import keeping
from bioclip_plugin.browsing.columns import Columns
from bioclip_plugin.browsing.counting import Facets
from bioclip_plugin.browsing.entries import Entry, entries_of
from bioclip_plugin.browsing.keys import ItemKey
from bioclip_plugin.browsing.pages import ColumnView, Page
from bioclip_plugin.browsing.query import ViewQuery
from bioclip_plugin.browsing.review_rows import ReviewTable
from bioclip_plugin.browsing.run_rows import RunRows, columns_of, up_to_date
from bioclip_plugin.store import Run, Store

logger = logging.getLogger(__name__)

_KEEP_EVERY_S = 60.0


class RunView:
    """One run of a store; safe to use from several threads.

    Row numbers are those of :attr:`columns` at one moment: after a :meth:`refresh` that returned True they are others. Threads that
    need several answers of one moment take :attr:`now` once and ask it.
    """

    def __init__(self, store: Store, run: Run, rows: RunRows, reviews: ReviewTable, notes: list[str]) -> None:
        """Take rows that are up to date; :meth:`open` makes them."""
        self._store, self._rows, self._reviews, self._lock = store, rows, reviews, threading.Lock()
        self.run = run
        self.notes = notes
        """Sentences for the user: kept columns that were damaged or cannot be kept, and findings about deployments."""
        self._kept_at, self._is_kept = time.monotonic(), True
        self.now = self._view()
        """The columns of this moment, with their pages and counts."""

    @classmethod
    def open(
        cls, store: Store, run: int | None = None, *, rebuild: bool = False, progress: Progress | None = None
    ) -> RunView:
        """Open a run: from kept columns if they are those of the store, else from its rows, which are then kept.

        Args:
            store: stays open as long as the view.
            run: number of the run; None is the one that was begun last.
            rebuild: True reads all rows, whatever is kept.
            progress: called with the number of blocks read and of all; None: a line is logged every few seconds.

        Raises:
            StoreError: for a run that the store does not have.
        """
        found, folder, notes = store.run(run), keeping.folder_of(store), list[str]()
        rows, why = (None, "") if rebuild else keeping.load(folder, found.id)
        findings = Findings()
        report = progress or logged(logger, "Reading the run's columns: %d of %d blocks")
        rows, changed = up_to_date(store, found, rows, findings, report)
        if changed:
            notes += [why] if why else []
            notes += [failed] if (failed := keeping.save(folder, found.id, rows)) else []
        notes += findings.lines()
        if left_out := sorted(rows.vocabulary.flags.left_out):
            notes.append(f"{len(left_out)} flags beyond the first 32 are not shown, such as {left_out[0]!r}")
        for note in notes:
            logger.warning("run %d: %s", found.id, note)
        reviews = ReviewTable()
        store.read(reviews.refresh)
        return cls(store, found, rows, reviews, notes)

    def _view(self) -> ColumnView:
        return ColumnView(self._store.read(columns_of, self.run, self._rows, self._reviews), self.run.id)

    def refresh(self) -> bool:
        """Read what other programs, and this one, have written since; return True if rows changed.

        Raises:
            StoreError: for a run that was deleted, and a store that went away; the view keeps what it had.
        """
        with self._lock:
            run = self._store.run(self.run.id)
            findings = Findings()
            rows, changed = up_to_date(self._store, run, self._rows, findings)
            has_reviews = self._store.read(self._reviews.refresh)
            if not changed and not has_reviews:
                return False
            self.run, self._rows = run, rows
            self.now = self._view()
            if changed:
                self._is_kept = False
                self.notes += [line for line in findings.lines() if line not in self.notes]
                if time.monotonic() - self._kept_at >= _KEEP_EVERY_S:
                    self._keep()
            return True

    def _keep(self) -> None:
        if not self._is_kept:
            failed = keeping.save(keeping.folder_of(self._store), self.run.id, self._rows)
            if failed and failed not in self.notes:
                self.notes.append(failed)
                logger.warning("run %d: %s", self.run.id, failed)
            self._kept_at, self._is_kept = time.monotonic(), True

    def close(self) -> None:
        """Keep the columns as they are now; the store stays open."""
        with self._lock:
            self._keep()

    def __enter__(self) -> RunView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def columns(self) -> Columns:
        """The columns of this moment."""
        return self.now.columns

    def count(self, query: ViewQuery) -> int:
        """Return the exact number of rows of a view; see :class:`ColumnView`, as for the next four."""
        return self.now.count(query)

    def rows(self, query: ViewQuery) -> NDArray[np.int64]:
        """Return the row numbers of a view in its order."""
        return self.now.rows(query)

    def page(self, query: ViewQuery, after: str | None = None, before: str | None = None, size: int = 100) -> Page:
        """Return a page of a view."""
        return self.now.page(query, after, before, size)

    def facets(self, query: ViewQuery) -> Facets:
        """Return the counts for the filters of a view."""
        return self.now.facets(query)

    def row_of(self, key: ItemKey) -> int | None:
        """Return the row of an item; None if the run does not have it."""
        return self.now.row_of(key)

    def entries(self, rows: Sequence[int] | NDArray[np.int64], at: ColumnView | None = None) -> list[Entry]:
        """Return the tiles of rows, in their order.

        Args:
            rows: row numbers, at most some hundred.
            at: the columns that they are of; None: those of this moment.
        """
        view = at or self.now
        return self._store.read(entries_of, view, [int(row) for row in rows])
