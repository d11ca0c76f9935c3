"""Joins of tables of any size: DuckDB in a folder of its own, which spills to disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from bioclip_core.errors import InstallationError, SourceError, first_line
from bioclip_training.published.layout import BATCH_ROWS, ReadOptions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Joining:
    """Tables that were read, and queries over them."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._numbers: dict[str, int] = {}

    def add(self, name: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Make a table of batches. Its further column ``nr`` numbers the rows, since queries do not keep their order."""
        self._numbers[name] = 0
        self._append(f"CREATE TABLE {name} AS SELECT * FROM incoming", self._numbered(name, batches, schema), schema)

    def append(self, name: str, batch: pa.RecordBatch) -> None:
        """Add rows to a table."""
        self._append(
            f"INSERT INTO {name} SELECT * FROM incoming", self._numbered(name, [batch], batch.schema), batch.schema
        )

    def _append(self, sql: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        reader = pa.RecordBatchReader.from_batches(pa.schema([*schema, ("nr", pa.int64())]), batches)
        self._connection.register("incoming", reader)
        try:
            self._connection.execute(sql)
        finally:
            self._connection.unregister("incoming")

    def _numbered(self, name: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        numbered = pa.schema([*schema, ("nr", pa.int64())])
        for batch in batches:
            start = self._numbers[name]
            self._numbers[name] += batch.num_rows
            number = pa.array(np.arange(start, start + batch.num_rows))
            yield pa.RecordBatch.from_arrays([*batch.select(schema.names).columns, number], schema=numbered)

    def execute(self, sql: str) -> None:
        """Run a statement."""
        self._connection.execute(sql)

    def count_and_first(self, sql: str) -> tuple[int, str]:
        """Return the number of rows of a query with one text column, and the smallest of them."""
        count, first = self._connection.sql(f"SELECT count(*), min(c) FROM ({sql}) t(c)").fetchall()[0]
        return int(count), "" if first is None else str(first)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query."""
        reader = self._connection.sql(sql).to_arrow_reader(BATCH_ROWS)
        for batch in reader or ():
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


@contextmanager
def joining(options: ReadOptions, what: str) -> Iterator[Joining]:
    """Give an empty database for joins, which is removed at the end.

    Args:
        options: memory, threads and work folder.
        what: the source, for messages.

    Raises:
        InstallationError: if DuckDB is missing.
        SourceError: if memory or disk is exhausted.
    """
    try:
        import duckdb
    except ImportError as error:
        raise InstallationError(
            f"{what} is read with DuckDB, which joins its tables ({first_line(error)}): pip install 'bioclip-plugin[curate]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="bioclip-published-", dir=options.work_folder) as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{options.memory // 1_000_000}MB",
            "threads": options.threads,
            "temp_directory": folder,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        connection = duckdb.connect(":memory:", config=settings)
        try:
            yield Joining(connection)
        except duckdb.OutOfMemoryException as error:
            raise SourceError(
                f"{what}: {options.memory / 1e9:.1f} GB of memory or the disk of {folder} are not enough ({first_line(error)}); "
                "give more memory, or another folder for temporary files"
            ) from error
        finally:
            connection.close()
