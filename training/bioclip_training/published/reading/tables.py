"""Tables of published collections, by the names of their columns: text of any size, Parquet, and members of zip archives."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.cells import column_name
from bioclip_core.cells.text import UNKNOWN
from bioclip_core.errors import DataError, SourceError
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.files.regular import open_regular
from bioclip_core.findings import Findings
from bioclip_core.tables.dialect import LOOK_AT, dialect_of
from bioclip_core.tables.marks import split_line
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.rows import Headings, shown_path
from bioclip_training.published.layout import BATCH_ROWS
from bioclip_training.published.reading.text_columns import TextForm, read_columns, read_part

EMPTY_MARKS = "cells hold a word for an unknown value and are read as empty"
_MARKS = pa.array(sorted(UNKNOWN - {""}))
_LONGEST_MARK = max(map(len, UNKNOWN))


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """A table that is read by columns."""

    name: str
    """Its name in messages."""
    header: tuple[str, ...]
    read: Callable[[Sequence[str]], Iterator[pa.RecordBatch]] = field(repr=False)
    """Yield batches of the columns of these headings, as texts."""
    findings: Findings = field(repr=False)

    def heading(self, *names: str) -> str:
        """Return the heading of the first of some columns that the table has, whatever its spelling; empty without one."""
        by_name = {column_name(heading): heading for heading in reversed(self.header)}
        return next((by_name[column_name(name)] for name in names if column_name(name) in by_name), "")

    def has(self, *names: str) -> bool:
        """True if the table has all of these columns."""
        return all(self.heading(name) for name in names)

    def columns(
        self, wanted: Mapping[str, str | Sequence[str]], *, marks: Sequence[str] = (), exact: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most BATCH_ROWS rows with one text column per field.

        Args:
            wanted: by field the heading, or several of which the first that the table has is read; a field without a column is
                empty.
            marks: further words for an unknown value, in lower case; NA, null and the like always are.
            exact: fields whose cells are never a word for an unknown value: NA is Namibia in a column of countries.
        """
        headings = {
            name: self.heading(*([given] if isinstance(given, str) else given)) for name, given in wanted.items()
        }
        read = list(dict.fromkeys(heading for heading in headings.values() if heading))
        unknown = pa.concat_arrays([_MARKS, pa.array(list(marks), pa.string())])
        for whole in self.read(read):
            for start in range(0, whole.num_rows, BATCH_ROWS):
                batch = whole.slice(start, BATCH_ROWS)
                columns = {
                    name: self._cleaned(batch.column(heading), heading, None if name in exact else unknown)
                    if heading
                    else pa.repeat("", batch.num_rows)
                    for name, heading in headings.items()
                }
                yield pa.RecordBatch.from_pydict(columns)

    def _cleaned(self, cells: pa.Array, heading: str, unknown: pa.Array | None) -> pa.Array:
        coded = cells.dictionary_encode()
        if 2 * len(coded.dictionary) < len(coded):
            values = self._trimmed(coded.dictionary, heading, unknown, pc.value_counts(cells))
            return pc.take(values, coded.indices)
        return self._trimmed(cells, heading, unknown, None)

    def _trimmed(self, values: pa.Array, heading: str, unknown: pa.Array | None, counts: pa.Array | None) -> pa.Array:
        values = pc.utf8_trim_whitespace(values)
        if unknown is None:
            return values
        is_mark = pc.is_in(pc.utf8_lower(values), unknown)
        if not pc.any(is_mark).as_py():
            return values
        found = values.filter(is_mark)
        if counts is None:
            number = len(found)
        else:
            by_value = pc.is_in(pc.utf8_trim_whitespace(counts.field("values")), found)
            number = pc.sum(counts.field("counts").filter(by_value)).as_py()
        self.findings.add(EMPTY_MARKS, f"{self.name}, {heading}: {found[0].as_py()!r}", number)
        return pc.if_else(is_mark, "", values)


def open_columns(
    path: Path,
    findings: Findings,
    options: TableOptions | None = None,
    *,
    quote: str = '"',
    separator: str = "",
    needed: Sequence[str] = (),
) -> ColumnTable:
    """Open a table: a text file, a Parquet file or folder of Parquet files, or ``ARCHIVE.zip/MEMBER``.

    Args:
        path: the table.
        findings: for what is odd about its rows.
        options: encoding, and columns of other names.
        quote: empty for a table that does not quote, by its format.
        separator: empty: it is derived.
        needed: columns without which it is not the table that it should be.

    Raises:
        SourceError: if it cannot be read, or lacks a needed column.
    """
    options = options or TableOptions()
    table = (
        _parquet(path, findings)
        if is_folder(path) or _starts_with(path, b"PAR1")
        else _text(partial(open_file, path), path, findings, options, quote, separator)
    )
    lacking = [name for name in needed if not table.heading(name)]
    if lacking:
        raise SourceError(
            f"{table.name} lacks the column {lacking[0]}; it has {', '.join(table.header) or 'no columns'}; "
            f"is it another table, or does it lack its header? columns of another name are given as column: {lacking[0]}=HEADING"
        )
    return table


def open_file(path: Path) -> IO[bytes]:
    """Open a file or a member of a zip archive, given as ``ARCHIVE.zip/MEMBER``; raises OSError."""
    if not is_file(path) and is_file(path.parent) and zipfile.is_zipfile(path.parent):
        try:
            return zipfile.ZipFile(path.parent).open(path.name)
        except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise SourceError(f"{path.parent} cannot be read: {error}; copy it again, or unpack it") from error
    return open_regular(path)


def header_of(path: Path) -> tuple[str, ...]:
    """Return the headings of a table, and nothing for what is not one, so that layouts can recognise it."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return _header_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)  # every layout asks for the same files
def _header_of(path: Path, _size: int, _modified_ns: int) -> tuple[str, ...]:
    try:
        return open_columns(path, Findings()).header
    except (SourceError, DataError, OSError):
        return ()


def has_columns(header: Sequence[str], *names: str) -> bool:
    """True if a header has all of these columns, whatever their spelling."""
    known = {column_name(heading) for heading in header}
    return all(column_name(name) in known for name in names)


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with open_file(path) as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _text(
    open_it: Callable[[], IO[bytes]],
    path: Path,
    findings: Findings,
    options: TableOptions,
    quote: str,
    separator: str,
) -> ColumnTable:
    name = shown_path(path)
    try:
        with open_it() as file:
            start = read_part(file, LOOK_AT)
    except EOFError as error:
        raise SourceError(f"the table {name} is cut short or damaged: {error}; copy the archive again") from error
    except OSError as error:
        raise SourceError(f"the table {name} cannot be read: {error.strerror or error}") from error
    if not start.strip():
        raise SourceError(f"the table {name} is empty")
    dialect = dialect_of(start, options.encoding, path.suffix.lower())
    if dialect.is_binary or not dialect.lines:
        raise SourceError(f"the table {name} is not a text file")
    separator = separator or dialect.separator
    mark = quote or "\0"
    headings = Headings(split_line(dialect.lines[0].rstrip("\r\n"), separator, mark), options.headings, (), name)
    headings.report(findings)
    width = len(headings.names)
    rows = [split_line(line.rstrip("\r\n"), separator, mark) for line in dialect.lines[1:-1][:20]]
    while rows and not headings.names[width - 1] and all(len(row) < width for row in rows):
        width -= 1  # a header that ends with a separator, above rows that do not
    columns = tuple(headings.name_of(place) for place in range(width))
    form = TextForm(
        name, columns, separator, quote, dialect.encoding, dialect.lines_before + 1, tuple(dialect.lines[1:-1][:200])
    )
    return ColumnTable(name, columns, lambda wanted: read_columns(form, open_it, wanted, findings), findings)


def _parquet(path: Path, findings: Findings) -> ColumnTable:
    import pyarrow.dataset as ds

    name = shown_path(path)
    files = [path] if is_file(path) else sorted(file for file in path.rglob("*") if is_file(file) and _is_data(file))
    if not files:
        raise SourceError(f"the folder {name} holds no Parquet file")
    try:
        dataset = ds.dataset([str(file) for file in files], format="parquet")
        names = tuple(dataset.schema.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{name} cannot be read as Parquet: {error}; is it complete?") from error

    def read(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in dataset.to_batches(columns=list(wanted), batch_size=BATCH_ROWS, use_threads=False):
                yield pa.RecordBatch.from_arrays([as_text(column) for column in batch.columns], names=list(wanted))
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{name} cannot be read as Parquet: {error}; is it complete?") from error

    return ColumnTable(name, names, read, findings)


def _is_data(file: Path) -> bool:
    return not file.name.startswith((".", "_")) and _starts_with(file, b"PAR1")


def as_text(column: pa.Array) -> pa.Array:
    """Return an Arrow column as texts: lists joined by a bar, as Darwin Core writes them, times in ISO 8601, null as empty."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_struct(kind.value_type):
            values = pa.array([_bars(cell) for cell in column.to_pylist()], pa.string())
        else:
            values = pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    elif pa.types.is_timestamp(kind):
        values = pc.replace_substring_regex(
            pc.strftime(column, "%Y-%m-%dT%H:%M:%S"), pattern="(?:T00:00:00)?[.]0+$", replacement=""
        )
    elif pa.types.is_binary(kind) or pa.types.is_struct(kind):
        values = pa.array(["" if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
    elif pa.types.is_floating(kind):
        values = pa.array([_number(cell) for cell in column.to_pylist()], pa.string())
    else:
        values = column.cast(pa.string())
    return pc.fill_null(values, "")


def _bars(cell: list[dict[str, Any]] | None) -> str:
    return "|".join(str(value) for part in cell or () for value in (part or {}).values() if value is not None)


def _number(value: float | None) -> str | None:
    return None if value is None or value != value else repr(int(value) if value.is_integer() else value)
