"""The one door to tables of other programs: text in any dialect, Excel workbooks and Parquet."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bioclip_core.errors import DataError, SourceError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.regular import open_regular
from bioclip_core.findings import Findings
from bioclip_core.tables.dialect import LOOK_AT
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.parquet import PARQUET, open_parquet
from bioclip_core.tables.rows import ABOVE, NOT_UTF_8, Table, TableRow, shown_path
from bioclip_core.tables.sheets import MERGED, OLE, OTHER_SHEETS, ZIP, open_sheet, sheet_of, spreadsheet_kind
from bioclip_core.tables.text import BLANK, NO_HEADING, SHORT, STRAY, open_text, plain_lines

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".parquet", ".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"})
"""Ends of names whose files are tables; other files are recognised by their content."""


def open_table(
    path: Path,
    options: TableOptions | None = None,
    findings: Findings | None = None,
    *,
    name: str = "",
    fields: Sequence[str] = (),
    needed: Sequence[str] = (),
) -> Table:
    """Open a table and read its header.

    Args:
        path: a file; of a workbook also ``FILE.xlsx#SHEET``.
        options: options of reading tables.
        findings: for what is wrong with its rows.
        name: of the table, for messages; empty: the path.
        fields: the fields that ``--column`` may name, in the spelling in which the reader knows them; empty: any.
        needed: headings of which the table needs one: they tell the sheet of a workbook, and its header below a title.

    Raises:
        SourceError: if it cannot be read, or is not a table.
        UsageError: for a ``--column`` with an unknown field or heading.
    """
    name, options = name or shown_path(path), options or TableOptions()
    findings = Findings() if findings is None else findings
    file, sheet = sheet_of(path)
    start = _start_of(file, name)
    if start.startswith(PARQUET):
        return open_parquet(file, name, options, findings, fields)
    if kind := spreadsheet_kind(file, start):
        return open_sheet(file, kind, sheet, name, options, findings, fields, needed)
    if not start.strip():
        raise SourceError(f"the table {name} is empty")
    _refuse_archive(file, start, name)
    table = open_text(file, start, name, options, findings, fields, needed)
    if table is None:
        raise SourceError(f"the table {name} is not a text file: give a CSV, TSV, Excel (.xlsx) or Parquet file")
    return table


def is_table_name(path: Path) -> bool:
    """True if a file's name says that it is a table."""
    return sheet_of(path)[0].suffix.lower() in TABLE_SUFFIXES


def lines_of(path: Path, options: TableOptions | None = None, findings: Findings | None = None) -> Iterator[str]:
    """Yield the lines of a text file that are not empty, without the blanks around them, in the encoding of a table.

    Raises:
        SourceError: if it cannot be read, or is not text.
    """
    name, findings = shown_path(path), Findings() if findings is None else findings
    start = _start_of(path, name)
    if not start:
        return
    _refuse_archive(path, start, name)
    yield from plain_lines(path, start, name, options or TableOptions(), findings)


def is_table_by_content(path: Path) -> bool:
    """True for a Parquet file and for a spreadsheet, also of a kind that is not read; raises OSError."""
    with open_regular(path) as file:
        start = file.read(LOOK_AT)
    return start.startswith(PARQUET) or spreadsheet_kind(path, start) is not None


_HARMLESS = frozenset((SHORT, BLANK, NO_HEADING, STRAY, MERGED, ABOVE, OTHER_SHEETS))


def sure_rows(
    path: Path,
    options: TableOptions | None = None,
    *,
    name: str = "",
    fields: Sequence[str] = (),
    needed: Sequence[str] = (),
) -> tuple[Table, Iterator[TableRow]]:
    """Open a table of which every row must be understood, such as a list that a rule decides by; arguments as of :func:`open_table`.

    Returns:
        The table, and its rows; they raise DataError for a row that cannot be read, or whose text or cells are not certain.
    """
    findings = Findings()
    table = open_table(path, options, findings, name=name, fields=fields, needed=needed)
    return table, _sure_rows(table, findings)


def _sure_rows(table: Table, findings: Findings) -> Iterator[TableRow]:
    for row in table:
        if row.fault:
            raise DataError(f"{table.name}, row {row.number} (line {row.line}) cannot be read: {row.fault}")
        _refuse_doubts(table, findings)
        yield row
    _refuse_doubts(table, findings)


def _refuse_doubts(table: Table, findings: Findings) -> None:
    wrong = findings.texts() - _HARMLESS if findings else ()
    for line in findings.lines() if wrong else ():
        if line.startswith(NOT_UTF_8):
            raise DataError(f"{table.name} is not UTF-8 {line[line.rindex('(') :]}; save it as UTF-8")
        if line.startswith(tuple(wrong)):
            raise DataError(line)


def _start_of(path: Path, name: str) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(LOOK_AT)
    except OSError as error:
        raise SourceError(f"the table {name} cannot be read: {error.strerror or error}{near_hint(path)}") from error


def _refuse_archive(path: Path, start: bytes, name: str) -> None:
    if start.startswith(ZIP) and not zipfile.is_zipfile(path):
        raise SourceError(f"the zip archive {name} is truncated or damaged: copy it again")
    if start.startswith((ZIP, OLE)):
        raise SourceError(
            f"{name} is an archive or a document of another kind, not a table of text: give a CSV, TSV, Excel (.xlsx) or Parquet file"
        )
