"""The table source: a CSV, TSV or Parquet file with an image column and any metadata."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.lines import Lines
from bioclip_plugin.formats.tables.read_rows import (
    BOX_COLUMNS,
    IMAGE_COLUMNS,
    Columns,
    Row,
    columns_of,
    items_of,
    latin_1,
)
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".parquet"})
_PARQUET = b"PAR1"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_LOOK_AT = 65_536  # bytes in which the header must end
_BATCH = 4096  # Parquet rows in memory at a time


class TableSource:
    """Lists a table's images: the first of the columns image, path, file, filepath, uri, relative to the table.

    CSV is read as UTF-8 (with or without a mark), a cell that is not UTF-8 as Latin-1; UTF-16 with a mark is read too. The
    separator is the comma, tab or semicolon of which the header has most. Rows are read as they are needed. Rows of one
    image that stand together are one item, with a region for each row that has a box; rows of one image that stand apart
    are listed as they come, so sort a table by its image column before.
    """

    name = "table (.csv, .tsv, .parquet)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        try:
            start = _beginning(path) if path.is_file() else b""
        except OSError:
            return False
        # A file that says that it is a table is one, so that the error speaks of its columns.
        if start.startswith(_PARQUET) or (start and path.suffix.lower() in _SUFFIXES):
            return True
        header = _header(start)
        return len(header) > 1 and columns_of(header) is not None

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:
        folder = options.base_folder if options and options.base_folder else path_of(address).parent
        yield from _items(self.rows(address), folder, uri_of(address))

    def rows(self, address: str) -> Iterator[Row | Unlisted]:
        """The table's rows one by one, for those who want each label of an image that has several.

        Raises:
            SourceError: if the table cannot be read, or has no image column.
        """
        path, shown = path_of(address), uri_of(address)
        try:
            start = _beginning(path)
            yield from _parquet_rows(path, shown) if start.startswith(_PARQUET) else _text_rows(path, start, shown)
        except OSError as error:
            raise SourceError(f"the table {shown} cannot be read: {error.strerror or error}") from error


def _items(rows: Iterator[Row | Unlisted], folder: Path, table: str) -> Iterator[MediaItem | Unlisted]:
    """Items of the images of consecutive rows."""
    together: list[Row] = []
    for row in rows:
        if together and (isinstance(row, Unlisted) or together[0].image != row.image):
            yield from items_of(together, folder, table)
            together = []
        if isinstance(row, Unlisted):
            yield row
        elif not row.image.strip():
            yield Unlisted(
                f"{table}#row={row.number}", f"row {row.number} names no image in column {row.columns.image!r}"
            )
        else:
            together.append(row)
    if together:
        yield from items_of(together, folder, table)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LOOK_AT)


# -- text --------------------------------------------------------------------------------------------------------------


def _text_rows(path: Path, start: bytes, table: str) -> Iterator[Row | Unlisted]:
    columns = _columns(_header(start), table)
    with path.open(encoding=_encoding(start), errors=_errors(start), newline="") as file:
        lines = Lines(file, table)
        reader = csv.reader(lines, delimiter=_separator(start))
        try:
            header = [name.strip() for name in next(reader)]
        except csv.Error as error:
            raise SourceError(f"the table {table} has no header that can be read: {lines.why(error)}") from error
        number = 0
        while True:
            number += 1
            begins = lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, UnicodeError) as error:
                why = lines.why(error) if isinstance(error, csv.Error) else str(error)
                yield Unlisted(f"{table}#row={number}", f"row {number} (line {begins}) cannot be read: {why}")
                if isinstance(error, UnicodeError):
                    return  # the decoder cannot go on from there
                continue
            if not cells:  # csv gives an empty list for a blank line
                continue
            row = Row(number, columns, _values(header, cells, columns.image))
            if "\n" in row.image or "\r" in row.image:
                why = f"a quotation mark is not closed in line {begins}"
                yield Unlisted(f"{table}#row={number}", f"row {number} (line {begins}) cannot be read: {why}")
            else:
                yield row


def _values(header: list[str], cells: list[str], image: str) -> dict[str, Any]:
    pairs = zip(header, cells, strict=False)  # a short row lacks its last columns, a long one has some without a name
    return {name: cell if name == image else latin_1(cell) for name, cell in pairs if name and cell.strip()}


def _header(start: bytes) -> list[str]:
    """The first row of a text; nothing where this is no text."""
    if b"\x00" in start and not start.startswith(_UTF_16):
        return []
    text = start.decode(_encoding(start), "replace" if start.startswith(_UTF_16) else "surrogateescape")
    try:
        return [
            name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=_separator(start)), [])
        ]
    except csv.Error:
        return []


def _separator(start: bytes) -> str:
    first_line = start.decode(_encoding(start), "replace").split("\n", 1)[0]
    return max((",", "\t", ";"), key=first_line.count)


def _encoding(start: bytes) -> str:
    return "utf-16" if start.startswith(_UTF_16) else "utf-8-sig"


def _errors(start: bytes) -> str:
    return "strict" if start.startswith(_UTF_16) else "surrogateescape"


def _columns(header: list[str], table: str) -> Columns:
    columns = columns_of(header)
    if columns is None:
        shown = ", ".join(name for name in header if name) or "no columns"
        raise SourceError(
            f"the table {table} has no image column: it has {latin_1(shown)}; one must be called {', '.join(IMAGE_COLUMNS)}"
        )
    if columns.box and len(columns.box) != len(BOX_COLUMNS):  # a misspelt one would silently give the whole image
        raise SourceError(
            f"the table {table} has of a box's columns only {', '.join(columns.box)}; needed are {', '.join(BOX_COLUMNS)}, or none"
        )
    return columns


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path, table: str) -> Iterator[Row | Unlisted]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            columns = _columns(list(file.schema_arrow.names), table)
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in _without_nanoseconds(batch).to_pylist():
                    number += 1
                    yield Row(number, columns, {k: v for k, v in values.items() if not _empty(v)})
    except pa.ArrowException as error:
        raise SourceError(f"the table {table} is no Parquet file that can be read: {error}") from error


def _without_nanoseconds(batch: Any) -> Any:
    """Times in microseconds, which Python has; for nanoseconds pyarrow would import pandas."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            column = batch.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(place, field.name, column)
    return batch


def _empty(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())  # NaN is not itself
