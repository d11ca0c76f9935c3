"""Pages, counts and row numbers of views over the columns of a run, all in memory and safe to use from several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_plugin.browsing.columns import Columns
from bioclip_plugin.browsing.counting import Facets, facets_of
from bioclip_plugin.browsing.filters import all_of, masks_of
from bioclip_plugin.browsing.keys import ItemKey
from bioclip_plugin.browsing.query import ViewQuery
from bioclip_plugin.browsing.sorting import Ordered, cursor_text, parse_cursor, sort_values

MOST_ROWS = 1_000
"""Rows of the largest page."""
_ORDERS, _VIEWS, _FACETS = 4, 16, 64
"""Remembered orders (12 bytes per row of the run each), views (12 bytes per row of the view) and counts."""

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a view."""

    rows: NDArray[np.int64]
    """Row numbers, in the order of the view; valid for the columns that they come from."""
    next: str | None
    """Cursor for ``after`` to get the following page; None on the last one."""
    previous: str | None
    """Cursor for ``before`` to get the page before; None on the first one."""
    total: int
    """Rows of the view."""
    before: int
    """Rows of the view before this page."""
    is_exact: bool = True
    """True if the counts are exact and not estimated."""


class _Recent:
    """The values that were asked for last, made once."""

    def __init__(self, size: int) -> None:
        self._size, self._values, self._lock = size, OrderedDict[Hashable, object](), threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]  # type: ignore[return-value]
        made = make()
        with self._lock:
            self._values[key] = made
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return made


class ColumnView:
    """The columns of a run at one moment, with pages and counts of any view of them."""

    def __init__(self, columns: Columns, run: int) -> None:
        """Take columns whose rows are sorted by position and, within an image, by region number.

        Args:
            columns: the columns.
            run: the store's number of the run, for keys and cursors.
        """
        self.columns, self.run = columns, run
        self._orders, self._views, self._facets = _Recent(_ORDERS), _Recent(_VIEWS), _Recent(_FACETS)

    def count(self, query: ViewQuery) -> int:
        """Return the exact number of rows of a view.

        Raises:
            UsageError: for a taxon, camera, flag or event that the run does not have; so all methods with a query.
        """
        return len(self._ordered(query).rows)

    def rows(self, query: ViewQuery) -> NDArray[np.int64]:
        """Return the row numbers of a view in its order."""
        return self._ordered(query).rows.astype(np.int64)

    def facets(self, query: ViewQuery) -> Facets:
        """Return the counts for the filters of a view."""
        return self._facets.get(_unsorted(query), lambda: facets_of(self.columns, query))

    def page(self, query: ViewQuery, after: str | None = None, before: str | None = None, size: int = 100) -> Page:
        """Return a page of a view: the first one, or the one that follows or precedes a cursor.

        A cursor keeps its place when rows are added or removed meanwhile.

        Raises:
            UsageError: for a cursor of another view, two cursors, and a size that is not from 1 to 1,000.
        """
        if after is not None and before is not None:
            raise UsageError("a page is after one row or before one: give one of the two cursors")
        if not 1 <= size <= MOST_ROWS:
            raise UsageError(f"a page of {size} rows is not possible; give 1 to {MOST_ROWS:,}")
        ordered, total = self._ordered(query), self.count(query)
        text = before if before is not None else after
        start = 0
        if text is not None:
            cursor = parse_cursor(query, self.run, text)
            place = ordered.place_of(cursor, by_row=query.sort == "name", behind=before is None)
            start = place if before is None else max(0, place - size)
            stop = start + size if before is None else place
        else:
            stop = size
        stop = min(stop, total)

        def cursor_at(place: int) -> str:
            return cursor_text(query, self.run, ordered.cursor_at(place))

        return Page(
            ordered.rows[start:stop].astype(np.int64),
            cursor_at(stop - 1) if 0 < stop < total else None,
            (cursor_at(start) if start < total else text) if start > 0 else None,
            total,
            start,
        )

    def row_of(self, key: ItemKey) -> int | None:
        """Return the row of an item; None if the run does not have it (any more).

        An image without regions may have got some since its key was given; its first region is meant then.
        """
        if key.run != self.run:
            return None
        place = np.searchsorted(self._media_order[0], key.media)
        ids, rows = self._media_order
        if place >= len(ids) or ids[place] != key.media:
            return None
        row = int(rows[place])
        media, regions = self.columns.media_N, self.columns.region_N
        stop = row
        while stop < len(media) and media[stop] == key.media:
            if regions[stop] == key.region:
                return stop
            stop += 1
        return row if key.region == 0 else None

    def key_of(self, row: int) -> ItemKey:
        """Return the name of a row for addresses."""
        return ItemKey(self.run, int(self.columns.media_N[row]), int(self.columns.region_N[row]))

    @property
    def _media_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The images' numbers in ascending order, and the first row of each."""

        def make() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            ids, first = np.unique(self.columns.media_N, return_index=True)
            return ids, first.astype(np.int64)

        return self._orders.get("media", make)

    def _ordered(self, query: ViewQuery) -> Ordered:
        return self._views.get(query, lambda: self._make(query))

    def _make(self, query: ViewQuery) -> Ordered:
        order = (query.sort, query.descending, query.seed)
        values, rows = self._orders.get(order, lambda: self._order(query))
        masks = masks_of(self.columns, query)
        return Ordered(self.columns, values, rows[all_of(self.columns, masks.values())[rows]] if masks else rows)

    def _order(self, query: ViewQuery) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        values = sort_values(self.columns, query)
        return values, np.argsort(values, kind="stable").astype(np.int32)


def _unsorted(query: ViewQuery) -> ViewQuery:
    return replace(query, sort="position", descending=False, seed=0)
