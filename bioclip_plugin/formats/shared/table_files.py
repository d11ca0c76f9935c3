"""Files of tables (CSV, TSV, Parquet): their header, and their rows one by one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from bioclip_core.cells import latin_1
from bioclip_core.errors import SourceError
from bioclip_plugin.formats.shared.table_rows import BOX_COLUMNS, IMAGE_COLUMNS, Columns, Row, columns_of
from bioclip_plugin.items.media import Unlisted, path_of, uri_of

_PARQUET = b"PAR1"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # as Excel saves "Unicode text"
_LOOK_AT = 65_536  # bytes in which the header must end
_BATCH = 4096  # Parquet rows in memory at a time
_LINE_CHARACTERS = 4 << 20
_RECORD_CHARACTERS = 1 << 17  # csv's own limit applies to the whole process, and other libraries raise it


def is_parquet(address: str) -> bool:
    """True for a Parquet file.

    Raises:
        SourceError: if it cannot be read.
    """
    return _beginning(address).startswith(_PARQUET)


def header_of(address: str) -> list[str]:
    """Return the columns of a table; empty for a file that is not a table.

    Raises:
        SourceError: if the file cannot be read.
    """
    start = _beginning(address)
    if not start.startswith(_PARQUET):
        return _text_header(start)
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path_of(address)).names)
    except pyarrow.ArrowException:
        return []


def rows_of(address: str) -> Iterator[Row | Unlisted]:
    """Yield the rows of a table, and a message for each one that cannot be read.

    Raises:
        SourceError: if the table cannot be read, or lacks an image column.
    """
    path, shown = path_of(address), uri_of(address)
    start = _beginning(address)
    try:
        yield from _parquet_rows(path, shown) if start.startswith(_PARQUET) else _text_rows(path, start, shown)
    except OSError as error:
        raise SourceError(f"the table {shown} cannot be read: {error.strerror or error}") from error


def _beginning(address: str) -> bytes:
    try:
        with path_of(address).open("rb") as file:
            return file.read(_LOOK_AT)
    except OSError as error:
        raise SourceError(f"the table {uri_of(address)} cannot be read: {error.strerror or error}") from error


def _columns(header: list[str], table: str) -> Columns:
    columns = columns_of(header)
    if columns is None:
        raise SourceError(
            f"the table {table} has no image column: it has {latin_1(', '.join(filter(None, header))) or 'no columns'}; "
            f"one must be called {', '.join(IMAGE_COLUMNS)}"
        )
    if columns.box and len(columns.box) != len(BOX_COLUMNS):  # with a misspelt one the whole image would be classified
        raise SourceError(
            f"the table {table} has only {', '.join(columns.box)} of the columns of a box; needed are {', '.join(BOX_COLUMNS)}, or none"
        )
    return columns


# -- text --------------------------------------------------------------------------------------------------------------


class Lines:
    """Lines for :func:`csv.reader`. A quotation mark that is not closed ends its record, and no more."""

    def __init__(self, file: io.TextIOBase, name: str) -> None:
        self._file = file
        self._name = name
        self.number = 0
        """Number of the last line, from 1."""
        self._begins = 1
        self._characters = 0

    def begin(self) -> int:
        """Begin a record, and return the number of its first line; to be called before each."""
        self._begins, self._characters = self.number + 1, 0
        return self._begins

    def why(self, error: csv.Error) -> str:
        """Return why the reader could not read the record."""
        if self.number > self._begins or self._characters > csv.field_size_limit():
            return f"a quotation mark is not closed in line {self._begins}"
        return str(error)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LINE_CHARACTERS)
        is_continued = self._characters > 0
        if not line:
            if self.number > self._begins and is_continued:
                raise csv.Error("the file ends within a record of several lines")
            raise StopIteration
        self.number += 1
        if len(line) >= _LINE_CHARACTERS:
            raise SourceError(
                f"{self._name}, line {self.number}: a line of more than {_LINE_CHARACTERS:,} characters; is it a text file with lines?"
            )
        if self.number == 1:
            line = line.removeprefix("\ufeff")
        self._characters += len(line)
        if is_continued and self._characters > _RECORD_CHARACTERS:
            raise csv.Error("the record is larger than allowed")
        return line


def _dialect(start: bytes) -> tuple[str, str, str]:
    """Return the encoding of a text table, the handling of its errors, and the separator."""
    utf_16 = start.startswith(_UTF_16)
    encoding = "utf-16" if utf_16 else "utf-8-sig"
    first_line = start.decode(encoding, "replace").split("\n", 1)[0]
    return encoding, "strict" if utf_16 else "surrogateescape", max((",", "\t", ";"), key=first_line.count)


def _text_header(start: bytes) -> list[str]:
    encoding, errors, separator = _dialect(start)
    if b"\x00" in start and encoding != "utf-16":
        return []
    text = start.decode(encoding, "replace" if errors == "strict" else errors)
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        return []
    return [name.strip() for name in cells]


def _text_rows(path: Path, start: bytes, table: str) -> Iterator[Row | Unlisted]:
    columns = _columns(_text_header(start), table)
    encoding, errors, separator = _dialect(start)
    with path.open(encoding=encoding, errors=errors, newline="") as file:
        lines = Lines(file, table)
        reader = csv.reader(lines, delimiter=separator)
        try:
            header = [name.strip() for name in next(reader)]
        except csv.Error as error:
            raise SourceError(f"the header of the table {table} cannot be read: {lines.why(error)}") from error
        for number in count(1):
            begins = lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, UnicodeError) as error:
                why = lines.why(error) if isinstance(error, csv.Error) else str(error)
                yield _unreadable(table, number, begins, why)
                if isinstance(error, UnicodeError):
                    return  # the decoder cannot continue
                continue
            values = {
                name: cell if name == columns.image else latin_1(cell)
                # A short row lacks its last columns, a long one has some without a name.
                for name, cell in zip(header, cells, strict=False)
                if name and cell.strip()
            }
            row = Row(number, columns, values)
            if not {"\n", "\r"}.isdisjoint(row.image):
                yield _unreadable(table, number, begins, f"a quotation mark is not closed in line {begins}")
            elif cells:  # csv gives an empty list for a blank line
                yield row


def _unreadable(table: str, number: int, line: int, why: str) -> Unlisted:
    return Unlisted(f"{table}#row={number}", f"row {number} (line {line}) cannot be read: {why}")


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path, table: str) -> Iterator[Row | Unlisted]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = _columns(list(file.schema_arrow.names), table)
            batches = map(_without_nanoseconds, file.iter_batches(batch_size=_BATCH))
            for number, values in enumerate((row for batch in batches for row in batch.to_pylist()), start=1):
                yield Row(number, columns, {k: v for k, v in values.items() if not _is_empty(v)})
    except pyarrow.ArrowException as error:
        raise SourceError(f"the table {table} cannot be read as Parquet: {error}") from error


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
