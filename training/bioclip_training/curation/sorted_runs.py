"""Rows of any number sorted by key within bounded memory: sorted runs on disk, merged bucket by bucket.

Keys are hex hashes, so their first two digits cut all rows into 256 shares of nearly the same size; the row groups of a run are
shares or neighbours of them. A bucket is one share or several neighbours, and is read, sorted and written as one part.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from bioclip_core.files.whole import replacing_file
from bioclip_training.catalog.ahead import in_order
from bioclip_training.curation.columns import KEY

SHARES = 256
RUN_ROWS = 262_144
"""Rows of a run; about 120 MB in memory."""
_GROUP_ROWS = 2048
PART_ROWS = 65_536
"""Number of rows that a part has at most, up to 16 million rows in all."""


def bucket_count(rows: int) -> int:
    """Return the number of buckets for a number of rows: a power of two, at most 256.

    >>> bucket_count(10), bucket_count(65_536), bucket_count(65_537), bucket_count(10_000_000)
    (1, 1, 2, 256)
    """
    return min(SHARES, _power_of_two(rows / PART_ROWS))


def bucket_name(bucket: int) -> str:
    """Return the name of a bucket's part in every stage."""
    return f"{bucket:03d}"


def write_runs(batches: Iterable[pa.RecordBatch], folder: Path, schema: pa.Schema) -> Iterator[int]:
    """Write rows as sorted runs into a folder, and yield the number of rows of each run.

    A run is written by a thread while the rows of the next one are read.

    Args:
        batches: rows with a key column.
        folder: an existing folder.
        schema: of the rows.
    """
    numbered = enumerate(_gathered(batches))
    yield from in_order(
        lambda run: _write_run(folder / f"run-{run[0]:06d}.parquet", run[1], schema),
        numbered,
        1,
        1,
        name="bioclip-runs",
    )


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield the batches of each run."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(entry.num_rows for entry in waiting) >= RUN_ROWS:
            yield waiting
            waiting = []
    if sum(entry.num_rows for entry in waiting):
        yield waiting


def _write_run(file: Path, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> int:
    table = pa.Table.from_batches(batches, schema)
    table = table.take(pc.sort_indices(table[KEY])).combine_chunks()
    groups = min(SHARES, _power_of_two(table.num_rows / _GROUP_ROWS))
    with replacing_file(file) as draft, parquet.ParquetWriter(draft, schema, compression="lz4") as writer:
        for group in range(groups):
            # an empty row group is written too, so that the number of a row group says which shares it has
            rows = _shares_of(table, group * SHARES // groups, (group + 1) * SHARES // groups)
            writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    return int(table.num_rows)


def _power_of_two(least: float) -> int:
    return 1 << max(0, math.ceil(math.log2(max(least, 1))))


def _shares_of(table: pa.Table, first: int, end: int) -> pa.Table:
    """Return the rows of some shares from rows that are sorted by key."""
    keys = table[KEY].combine_chunks()
    # "g" is behind every digit; of a million keys some twenty are looked at
    start, stop = (
        bisect_left(range(len(keys)), bound, key=lambda row: keys[row].as_py())
        for bound in (f"{first:02x}", f"{end:02x}" if end < SHARES else "g")
    )
    return table.slice(start, stop - start)


class Run:
    """One sorted run."""

    def __init__(self, file: Path) -> None:
        self._file = parquet.ParquetFile(file)
        self.rows = self._file.metadata.num_rows
        self._groups = self._file.num_row_groups
        self._last: tuple[int, pa.Table] = (-1, None)

    def close(self) -> None:
        self._file.close()

    def shares(self, first: int, end: int) -> pa.Table:
        """Return the rows of some shares."""
        width = SHARES // self._groups
        if width <= end - first:
            return self._file.read_row_groups(list(range(first // width, end // width)))
        group = first // width
        if self._last[0] != group:
            self._last = (group, self._file.read_row_group(group))
        return _shares_of(self._last[1], first, end)


class Runs:
    """Sorted runs of several folders, read bucket by bucket."""

    def __init__(self, folders: Iterable[Path], schema: pa.Schema) -> None:
        self._schema = schema
        self._runs = [Run(file) for folder in folders for file in sorted(folder.glob("run-*.parquet"))]
        self.rows = sum(run.rows for run in self._runs)
        self.buckets = bucket_count(self.rows)

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()

    def bucket(self, number: int) -> pa.Table:
        """Return the rows of a bucket, sorted as :func:`sorted_rows` does."""
        return sorted_rows(self.gathered(number))

    def gathered(self, number: int) -> pa.Table:
        """Return the rows of a bucket in no order; one thread may read at a time."""
        width = SHARES // self.buckets
        return pa.concat_tables(
            [
                self._schema.empty_table(),
                *(run.shares(number * width, (number + 1) * width) for run in self._runs),
            ]
        )


def sorted_rows(table: pa.Table) -> pa.Table:
    """Return rows sorted by key and then by all other columns, so that the order in which they come does not decide."""
    keys = table[KEY]
    if len(pc.unique(keys)) == len(keys):
        return table.take(pc.sort_indices(keys)).combine_chunks()
    order: list[Any] = [(name, "ascending") for name in (KEY, *(n for n in table.column_names if n != KEY))]
    return table.take(pc.sort_indices(table, sort_keys=order)).combine_chunks()
