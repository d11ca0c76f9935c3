"""Batches of records as readers give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from bioclip_training.published.columns import RECORDS
from bioclip_training.published.layout import BATCH_ROWS

FRAME_COLUMNS = ("key", "source", "layout")
"""Columns that the runner of ``curate`` adds."""
SOURCE_RECORDS = pa.schema([column for column in RECORDS if column.name not in FRAME_COLUMNS])
"""Columns of the batches that a reader yields."""


def batch_of(rows: int, columns: Mapping[str, pa.Array | pa.ChunkedArray | str | float | None]) -> pa.RecordBatch:
    """Return a batch of the schema SOURCE_RECORDS.

    Args:
        rows: number of rows.
        columns: arrays of that length, or one value for all rows; columns that are missing are empty texts and nulls.

    Raises:
        KeyError: for a column that records do not have.
    """
    for name in columns:
        if name not in SOURCE_RECORDS.names:
            raise KeyError(name)
    return pa.RecordBatch.from_arrays(
        [_column(columns.get(column.name), column.type, rows) for column in SOURCE_RECORDS], schema=SOURCE_RECORDS
    )


def _column(given: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if isinstance(given, pa.ChunkedArray):
        given = given.combine_chunks()
    if isinstance(given, pa.Array):
        array = given if given.type == kind else given.cast(kind)
        if kind == pa.string() and array.null_count:
            array = array.fill_null("")
        return array
    if given is None:
        return pa.repeat("", rows) if kind == pa.string() else pa.nulls(rows, kind)
    return pa.repeat(pa.scalar(given, kind), rows)


def batches_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Yield batches of rows that are made one by one; unknown columns are errors."""
    waiting: list[Mapping[str, Any]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == BATCH_ROWS:
            yield _batch_of_rows(waiting)
            waiting = []
    if waiting:
        yield _batch_of_rows(waiting)


def _batch_of_rows(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    names = dict.fromkeys(name for row in rows for name in row)
    return batch_of(
        len(rows),
        {name: pa.array([row.get(name) for row in rows], type=SOURCE_RECORDS.field(name).type) for name in names},
    )
