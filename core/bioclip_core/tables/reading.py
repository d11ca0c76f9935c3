"""The one door to tables of other programs: text in any dialect, Excel workbooks and Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.dialect import LOOK_AT
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.parquet import PARQUET, open_parquet
from bioclip_core.tables.rows import Table, TableRow, shown_path
from bioclip_core.tables.sheets import open_sheet, sheet_of, spreadsheet_kind
from bioclip_core.tables.text import open_text

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
    try:
        with file.open("rb") as opened:
            start = opened.read(LOOK_AT)
    except OSError as error:
        raise SourceError(f"the table {name} cannot be read: {error.strerror or error}") from error
    if start.startswith(PARQUET):
        return open_parquet(file, name, options, findings, fields)
    if kind := spreadsheet_kind(file, start):
        return open_sheet(file, kind, sheet, name, options, findings, fields, needed)
    if not start.strip():
        raise SourceError(f"the table {name} is empty")
    table = open_text(file, start, name, options, findings, fields)
    if table is None:
        raise SourceError(f"{name} is not a table: it is not text, an Excel workbook (.xlsx) or Parquet")
    return table


def is_table_by_content(path: Path) -> bool:
    """True for a Parquet file and for a spreadsheet, also of a kind that is not read; raises OSError."""
    with path.open("rb") as file:
        start = file.read(LOOK_AT)
    return start.startswith(PARQUET) or spreadsheet_kind(path, start) is not None


def rows_of_table(
    path: Path,
    options: TableOptions | None = None,
    findings: Findings | None = None,
    *,
    name: str = "",
    fields: Sequence[str] = (),
    needed: Sequence[str] = (),
) -> Iterator[TableRow]:
    """Yield the rows of a table; arguments and errors as of :func:`open_table`. Empty rows are counted and not yielded."""
    yield from open_table(path, options, findings, name=name, fields=fields, needed=needed)
