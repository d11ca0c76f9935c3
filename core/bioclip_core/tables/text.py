"""The one reader of tables in text: CSV, tab-separated, with semicolons or vertical bars, in any encoding."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, AnyStr

from bioclip_core.cells import UNDECODED, column_name, latin_1
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.dialect import Dialect, dialect_of
from bioclip_core.tables.marks import split_line
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.profile import Profile
from bioclip_core.tables.quotes import LINE_CHARACTERS, Record, Records
from bioclip_core.tables.rows import ABOVE, NOT_UTF_8, Headings, RowFindings, Table, TableRow

_PROFILED_ROWS = 50

SURPLUS = "cells are behind the last heading, in rows that are longer than the header; they are kept as 'column N'"
SHORT = "rows have fewer cells than the header; the missing ones are empty"
NO_HEADING = "cells are in a column without a heading; they are kept as 'column N'"
STRAY = "rows have a quotation mark that does not quote; it is read as text"
NUL = "cells hold zero bytes, which are left out"
BLANK = "rows are empty"
BAD_CHARACTERS = "cells hold bytes that are not of the table's encoding, shown as \ufffd"


def open_text(
    path: Path,
    start: bytes,
    name: str,
    options: TableOptions,
    findings: Findings,
    fields: Sequence[str] = (),
    needed: Sequence[str] = (),
) -> Table | None:
    """Return the table of a text file; None for a file that is not text.

    Args:
        path: the file.
        start: its beginning, ``dialect.LOOK_AT`` bytes of it.
        name: of the table, for messages.
        options: options of reading tables.
        findings: for what is wrong with rows.
        fields: the fields that ``--column`` may name.
        needed: headings of which the table needs one; its header may be below a title then.

    Raises:
        UsageError: for a ``--column`` that does not fit.
    """
    wanted = frozenset(column_name(heading) for heading in (*needed, *options.headings.values()))
    dialect = dialect_of(start, options.encoding, path.suffix.lower(), wanted)
    if dialect.is_binary or not dialect.lines:
        return None
    records = Records(io.StringIO("".join(dialect.lines), newline=""), name, dialect.separator)
    first = next(iter(records), Record(1, []))
    cells = first.cells or split_line(dialect.lines[0], dialect.separator)
    headings = Headings(cells, options.headings, fields, name)
    return Table(name, "text", headings, lambda: _rows(path, name, dialect, headings, findings))


def lines_within(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """Yield the lines of an open file with their ends, each within the limit of a line of a table.

    Raises:
        SourceError: for a longer line, such as that of a device which has none.
    """
    for number, line in enumerate(iter(lambda: file.readline(LINE_CHARACTERS + 1), None), start=1):
        if not line:
            return
        if len(line) > LINE_CHARACTERS:
            raise SourceError(f"{name}, line {number}: a line of more than {LINE_CHARACTERS:,} characters")
        yield line


def plain_lines(path: Path, start: bytes, name: str, options: TableOptions, findings: Findings) -> Iterator[str]:
    """Yield the lines of a text that is not a table, without empty ones; arguments as of :func:`open_text`.

    Raises:
        SourceError: if it cannot be read, or is not text.
    """
    dialect = dialect_of(start, options.encoding)
    if dialect.is_binary:
        raise SourceError(f"{name} is not a text file: give a text file with one entry per line, or a table")
    report = RowFindings(findings, name)
    try:
        with path.open(encoding=dialect.encoding, errors=dialect.errors) as file:
            for number, line in enumerate(lines_within(file, name), start=1):
                if text := _cleaned(line, number, number, report).strip():
                    yield text
    except UnicodeError as error:
        raise SourceError(f"{name} cannot be read as {dialect.encoding}: {error}; give --encoding") from error
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or error}") from error


def _rows(path: Path, name: str, dialect: Dialect, headings: Headings, findings: Findings) -> Iterator[TableRow]:
    headings.report(findings)
    report = RowFindings(findings, name)
    if dialect.title_lines:
        findings.add(
            ABOVE, f"{name}: {dialect.title_lines} before line {dialect.lines_before + 1}", dialect.title_lines
        )
    try:
        with path.open(encoding=dialect.encoding, errors=dialect.errors, newline="") as file:
            for _ in range(dialect.lines_before):
                file.readline()
            records = Records(
                file,
                name,
                dialect.separator,
                profile=_profile(dialect, len(headings.written)),
                first_line=dialect.lines_before + 1,
            )
            records.look_at(dialect.lines)
            found = iter(records)
            if next(found, Record(1, [])).fault:
                records.width = len(headings.written)
            for number, record in enumerate(found, start=1):
                if row := _row(number, record, headings, report):
                    if records.as_text:
                        _report_marks(records, number, report)
                    yield row
    except UnicodeError as error:
        raise SourceError(f"the table {name} cannot be read as {dialect.encoding}: {error}; give --encoding") from error
    except OSError as error:
        raise SourceError(f"the table {name} cannot be read: {error.strerror or error}") from error


def _report_marks(records: Records, number: int, report: RowFindings) -> None:
    for line, cell in records.as_text.items():
        report.add(STRAY, number, line, latin_1(cell))
    records.as_text.clear()


def _profile(dialect: Dialect, width: int) -> Profile:
    """Return the likeness of the rows at the table's beginning that need no decision about quotation marks."""
    rows = [
        cells
        for line in dialect.lines[1:-1][: 4 * _PROFILED_ROWS]
        if len(cells := split_line(line, dialect.separator)) == width and not any('"' in cell for cell in cells)
    ]
    return Profile(rows[:_PROFILED_ROWS])


def _row(number: int, record: Record, headings: Headings, report: RowFindings) -> TableRow | None:
    """Return a record as a row; None for an empty one."""
    line, cells, fault = record
    if fault:
        return TableRow(number, line, {}, fault)
    values = {
        heading: cell
        for heading, cell in zip(headings.names, cells, strict=False)
        if heading and cell and not cell.isspace()
    }
    if len(cells) != len(headings.names) or "" in headings.names:
        _compare_width(values, number, line, cells, headings, report)
    undecoded: dict[str, str] = {}
    for heading, cell in values.items():
        if not cell.isascii() or "\0" in cell:
            values[heading] = _cleaned(cell, number, line, report)
            if UNDECODED.search(cell):
                undecoded[heading] = cell
    if not values and cells:
        report.add(BLANK, number, line)
    return TableRow(number, line, values, "", undecoded) if values else None


def _compare_width(
    values: dict[str, str], number: int, line: int, cells: Sequence[str], headings: Headings, report: RowFindings
) -> None:
    """Keep the cells that no heading belongs to, and report them and missing ones."""
    width = len(headings.names)
    for place, cell in enumerate(cells):
        if cell.strip() and (place >= width or not headings.names[place]):
            values[headings.name_of(place)] = cell
            report.add(SURPLUS if place >= width else NO_HEADING, number, line, latin_1(cell))
    if len(cells) < width and values:
        report.add(SHORT, number, line, f"{len(cells)} of {width}")


def _cleaned(cell: str, number: int, line: int, report: RowFindings) -> str:
    """Return a cell without zero bytes, and with bytes that are not of the encoding as characters of Windows-1252."""
    if "\0" in cell:
        report.add(NUL, number, line)
        cell = cell.replace("\0", "")
    if UNDECODED.search(cell):
        report.add(NOT_UTF_8, number, line, latin_1(cell))
        return latin_1(cell)
    if "\ufffd" in cell:
        report.add(BAD_CHARACTERS, number, line, cell)
    return cell
