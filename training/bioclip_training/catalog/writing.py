"""Catalog rows to Parquet in parts of a fixed size, so that memory is flat and the same rows give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.catalog.rows import CatalogRow, table_from
from bioclip_training.catalog.versions import CATALOG_VERSION, FACTS

_ROWS_PER_PART = 20_000


class DraftWriter:
    """A Parquet file that rows are added to. Use it in a ``with`` statement."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._waiting: list[CatalogRow] = []
        self._writer: Any = None

    def __enter__(self) -> DraftWriter:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(self._file, table_from([]).schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._waiting:
            self._write()
        self._writer.close()

    def add(self, row: CatalogRow) -> None:
        self._waiting.append(row)
        if len(self._waiting) == _ROWS_PER_PART:
            self._write()

    def _write(self) -> None:
        self._writer.write_table(table_from(self._waiting))
        self._waiting = []


def parts(file: Path, columns: list[str] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the record batches of a draft, each with the number of its first row."""
    from pyarrow import parquet

    start = 0
    with parquet.ParquetFile(file) as source:
        for batch in source.iter_batches(batch_size=_ROWS_PER_PART, columns=columns):
            yield start, batch
            start += batch.num_rows


class DraftReader:
    """Single rows of a draft, read part by part. Use it in a ``with`` statement."""

    def __init__(self, file: Path) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(file)
        sizes = [self._file.metadata.row_group(at).num_rows for at in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __enter__(self) -> DraftReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def texts(self, rows: NDArray[np.int64], columns: Sequence[str]) -> dict[int, tuple[Any, ...]]:
        """Return the values of some columns of some rows, by row."""
        wanted = np.unique(rows)
        part_of = np.searchsorted(self._starts, wanted, side="right") - 1
        found: dict[int, tuple[Any, ...]] = {}
        for part in np.unique(part_of).tolist():
            here = wanted[part_of == part]
            table = self._file.read_row_group(part, columns=list(columns)).take(here - self._starts[part])
            values = [table.column(name).to_pylist() for name in columns]
            found.update(zip(here.tolist(), zip(*values, strict=True), strict=True))
        return found


def write_final(
    draft: Path,
    file: Path,
    keep_N: NDArray[np.bool_],
    texts: Mapping[str, Callable[[slice], list[str]]],
    facts: Mapping[str, Any],
    amended: Callable[[slice, Any], Any] = lambda _, table: table,
) -> None:
    """Write a draft's kept rows with some columns replaced, and the facts in the file's metadata.

    Args:
        texts: per column, a function that gives the texts for a slice of the draft's rows.
        amended: returns a slice of the draft's rows, given as a table, with the labels that they have in the catalog.
    """
    import pyarrow as pa
    from pyarrow import parquet

    metadata = {
        FACTS: json.dumps({"format_version": CATALOG_VERSION, **facts}, sort_keys=True, ensure_ascii=False).encode()
    }
    schema = parquet.read_schema(draft).with_metadata(metadata)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for start, batch in parts(draft):
            here = slice(start, start + batch.num_rows)
            table = amended(here, pa.Table.from_batches([batch]))
            for name, text in texts.items():
                table = table.set_column(table.column_names.index(name), name, pa.array(text(here), pa.string()))
            writer.write_table(table.filter(pa.array(keep_N[here])).replace_schema_metadata(schema.metadata))
