"""Orders of a run's rows, and places in an order that last when rows are added."""

from __future__ import annotations

import base64
import json
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, UsageError
from bioclip_core.files.documents import parse_document
from bioclip_plugin.browsing.columns import Columns
from bioclip_plugin.browsing.query import ViewQuery

_LONGEST = 400
_LARGEST = 1 << 62
_WRONG = "this address of a page is damaged or belongs to another view: begin the view from its first page"


class Cursor(NamedTuple):
    """A row's place in an order: pages begin behind or end before it, even if the row itself is gone."""

    value: float
    """Sort value, as in :func:`sort_values`; of names, only a guess."""
    position: int
    region: int


def sort_values(columns: Columns, query: ViewQuery) -> NDArray[np.float64]:
    """Return the values (N) by which a question's rows are in ascending order; rows without a value have infinity."""
    values: NDArray[np.float64]
    match query.sort:
        case "position":
            values = columns.position_N.astype(np.float64)
        case "name":
            values = columns.name_N.astype(np.float64)
        case "time":
            values = np.where(columns.timed, columns.moment_N, np.nan)
        case "probability":
            values = columns.probability_N.astype(np.float64)
        case "best":
            values = columns.best_N.astype(np.float64)
        case "margin":
            values = columns.margin_N.astype(np.float64)
        case "taxon":
            values = _numbered(columns.current_taxa)
        case "camera":
            values = _numbered(columns.camera_N)
        case "reviewed_at":
            values = columns.reviewed_at
        case "random":
            return _random(columns, query.seed)
    return np.nan_to_num(-values if query.descending else values, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def _numbered(numbers: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.where(numbers >= 0, numbers, np.nan)


def _random(columns: Columns, seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) per row, which depends on the seed and the row's item alone (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = columns.media_N.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= columns.region_N.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    found: NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) / (1 << 53)
    return found


def cursor_text(query: ViewQuery, run: int, cursor: Cursor) -> str:
    """Return a cursor for an address, with the hash of the view that it belongs to."""
    value = cursor.value if math.isfinite(cursor.value) else None
    text = json.dumps([_of(query, run), value, cursor.position, cursor.region], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_cursor(query: ViewQuery, run: int, text: str) -> Cursor:
    """Return the cursor of an address.

    Raises:
        UsageError: for a text that is not one, and a cursor of another view.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        given = parse_document(base64.b64decode(padded, altchars=b"-_", validate=True), list[Any], name="cursor")
        of, value, position, region = given
    except (ValueError, DataError):  # binascii.Error is one of the first
        raise UsageError(_WRONG) from None
    numbers_fit = all(type(number) is int and 0 <= number <= _LARGEST for number in (position, region))
    value_fits = value is None or (type(value) in (int, float) and math.isfinite(value))
    if of != _of(query, run) or not numbers_fit or not value_fits:
        raise UsageError(_WRONG)
    return Cursor(math.inf if value is None else float(value), position, region)


def _of(query: ViewQuery, run: int) -> str:
    return f"{run}:{query.key}"


class Ordered:
    """The rows of a view in their order."""

    def __init__(self, columns: Columns, values_N: NDArray[np.float64], rows: NDArray[np.int32]) -> None:
        """Take rows that are sorted by their values and, of equal values, by their numbers."""
        self._columns, self._values_N, self.rows = columns, values_N, rows
        self._values = values_N[rows]

    def place_of(self, cursor: Cursor, *, by_row: bool, behind: bool) -> int:
        """Return how many rows are before a cursor's row.

        Args:
            cursor: a row's place.
            by_row: True to take the value that its row has now, if it is still there.
            behind: True to count the row itself, too.
        """
        row, is_there = self._row_at(cursor)
        value = float(self._values_N[row]) if by_row and is_there else cursor.value
        first, stop = (int(np.searchsorted(self._values, value, side)) for side in ("left", "right"))
        return first + int(np.searchsorted(self.rows[first:stop], row, "right" if behind and is_there else "left"))

    def _row_at(self, cursor: Cursor) -> tuple[int, bool]:
        """Return the number of a cursor's row, or of the one that follows its place in the listing."""
        positions, regions = self._columns.position_N, self._columns.region_N
        first, stop = (int(np.searchsorted(positions, cursor.position, side)) for side in ("left", "right"))
        row = first + int(np.searchsorted(regions[first:stop], cursor.region))
        return row, row < stop and int(regions[row]) == cursor.region

    def cursor_at(self, place: int) -> Cursor:
        """Return the cursor of the row at a place of the order."""
        row = int(self.rows[place])
        return Cursor(float(self._values[place]), int(self._columns.position_N[row]), int(self._columns.region_N[row]))
