"""Tables in Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.parquet_limits import (
    MAX_CELL_CHARACTERS,
    ExpandsError,
    expansion_of,
    shared_values,
)
from bioclip_core.tables.rows import Headings, Table, TableRow

PARQUET = b"PAR1"
_BATCH = 4096  # rows in memory at a time
_BATCH_OF_IMAGES = 16  # if a column may hold the bytes of images


def open_parquet(path: Path, name: str, options: TableOptions, findings: Findings, fields: Sequence[str] = ()) -> Table:
    """Return the table of a Parquet file.

    Raises:
        SourceError: if it cannot be read.
        UsageError: for a ``--column`` that does not fit.
    """
    import pyarrow.parquet

    try:
        written = list(pyarrow.parquet.read_schema(path).names)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise SourceError(f"the table {name} cannot be read as Parquet: {error}") from error
    headings = Headings(written, options.headings, fields, name)
    return Table(name, "parquet", headings, lambda: _rows(path, name, headings, findings))


def _rows(path: Path, name: str, headings: Headings, findings: Findings) -> Iterator[TableRow]:
    import pyarrow.parquet

    headings.report(findings)
    named = [(place, headings.name_of(place)) for place in range(len(headings.names))]
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            has_bytes = any("binary" in str(field.type) for field in file.schema_arrow)  # in a struct too
        way = expansion_of(path, _BATCH_OF_IMAGES if has_bytes else _BATCH)
        with pyarrow.parquet.ParquetFile(path, read_dictionary=way.dictionaries) as file:
            number = 0
            for batch in map(_without_nanoseconds, file.iter_batches(batch_size=way.batch_rows)):
                columns = [shared_values(batch.column(place)) for place, _ in named]
                long = _long_cells(batch, columns, named)
                for row, values in enumerate(zip(*columns, strict=True)):
                    number += 1
                    if row in long:
                        yield TableRow(number, number, {}, long[row])
                        continue
                    cells = {
                        heading: value
                        for (_, heading), value in zip(named, values, strict=True)
                        if not _is_empty(value)
                    }
                    yield TableRow(number, number, cells)
    except ExpandsError as error:
        raise SourceError(f"the table {name} is refused: {error}") from None
    # ValueError and OverflowError: text that is not UTF-8, a moment that Python has no date for
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        raise SourceError(f"the table {name} cannot be read as Parquet: {error}") from error


def _long_cells(batch: Any, columns: list[list[Any]], named: list[tuple[int, str]]) -> dict[int, str]:
    """Return the fault of each row with a text above the limit, by its place in the batch."""
    found = {}
    for values, (place, heading) in zip(columns, named, strict=True):
        if batch.column(place).nbytes > MAX_CELL_CHARACTERS:
            for row, value in enumerate(values):
                if isinstance(value, str) and len(value) > MAX_CELL_CHARACTERS:
                    found[row] = (
                        f"its {heading} has {len(value):,} characters; a cell may have up to {MAX_CELL_CHARACTERS:,}"
                    )
    return found


def _without_nanoseconds(batch: Any) -> Any:
    """Return a batch with times in microseconds, which Python has; for nanoseconds pyarrow would import pandas."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            moments = pa.timestamp("us", field.type.tz)
            batch = batch.set_column(place, field.name, batch.column(place).cast(moments, safe=False))
    return batch


def _is_empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())  # NaN differs from itself
