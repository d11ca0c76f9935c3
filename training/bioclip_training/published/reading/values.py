"""Values of published collections as records hold them: coordinates, dates, ids, boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.cells import dated_of, latitude_of, longitude_of
from bioclip_training.published.layout import ReadOptions

_ISO = r"^[12]\d{3}(?:-[01]\d(?:-[0-3]\d(?:T[0-2]\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?)?)?$"
NO_PLACE = "coordinates are 0, 0, which is taken for an unknown place"
BAD_PLACE = "coordinates cannot be read; the place is left empty"
BAD_DATE = "dates cannot be read and are left empty"
BAD_BOX = "boxes are outside their image or cannot be read; the record has no box"


def places(latitude: pa.Array, longitude: pa.Array, options: ReadOptions) -> tuple[pa.Array, pa.Array]:
    """Return degrees north and east of two columns of texts or numbers, both null where one is unknown."""
    north, bad_north = _degrees(latitude, 90, latitude_of)
    east, bad_east = _degrees(longitude, 180, longitude_of)
    bad = bad_north | bad_east
    if bad.any():
        first = int(bad.argmax())
        options.findings.add(BAD_PLACE, f"{latitude[first].as_py()!r}, {longitude[first].as_py()!r}", int(bad.sum()))
    zero = (north == 0) & (east == 0)
    if zero.any():
        options.findings.add(NO_PLACE, count=int(zero.sum()))
    unknown = np.isnan(north) | np.isnan(east) | zero
    return pa.array(north, mask=unknown), pa.array(east, mask=unknown)


def _degrees(
    column: pa.Array, limit: float, read: Callable[[object], float | None]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    if column.type == pa.string():
        text = pc.if_else(pc.equal(column, ""), None, column)
        try:
            numbers = text.cast(pa.float64())
        except pa.ArrowInvalid:
            numbers = pa.array([None if cell is None else read(cell) for cell in text.to_pylist()], pa.float64())
        stated = text.is_valid().to_numpy(zero_copy_only=False)
    else:
        numbers = column.cast(pa.float64())
        stated = numbers.is_valid().to_numpy(zero_copy_only=False)
    values = pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False).copy()
    with np.errstate(invalid="ignore"):
        values[~(np.abs(values) <= limit)] = np.nan
    return values, stated & np.isnan(values)


def dates(column: pa.Array, options: ReadOptions) -> pa.Array:
    """Return a column of dates in ISO 8601, as exact as they are stated; others are empty and reported."""
    column = pc.replace_substring_regex(column, pattern=r"^(\d{4}-\d\d-\d\d) ", replacement=r"\1T")
    fits = pc.or_(pc.match_substring_regex(column, _ISO), pc.equal(column, ""))
    if pc.all(fits).as_py():
        return column
    known: dict[str, str] = {}
    bad = 0
    first = ""
    values = column.to_pylist()
    for place in np.flatnonzero(~fits.to_numpy(zero_copy_only=False)):
        text = values[place]
        if text not in known:
            dated = dated_of(text, options.table.date_order)
            known[text] = dated.iso if dated else ""
        values[place] = known[text]
        if not known[text]:
            bad, first = bad + 1, first or text
    if bad:
        options.findings.add(BAD_DATE, repr(first), bad)
    return pa.array(values, pa.string())


def joined(parts: Sequence[pa.Array | str], separator: str = "") -> pa.Array:
    """Return columns and constants joined row by row."""
    return pc.binary_join_element_wise(*parts, separator)


def first_of(*columns: pa.Array) -> pa.Array:
    """Return for each row the first text that is not empty."""
    found = columns[-1]
    for column in reversed(columns[:-1]):
        found = pc.if_else(pc.equal(column, ""), found, column)
    return found


def file_name_of(column: pa.Array) -> pa.Array:
    """Return the last part of each path."""
    return pc.replace_substring_regex(column, pattern=r"^.*[/\\]", replacement="")
