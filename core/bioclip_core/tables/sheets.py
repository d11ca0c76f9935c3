"""Tables in Excel workbooks (.xlsx), read with openpyxl (extra ``excel``)."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_core.files.archive_gate import DEFAULT_LIMITS
from bioclip_core.files.archives import ARCHIVE_FAULTS
from bioclip_core.files.present import exists
from bioclip_core.findings import Findings
from bioclip_core.process.quiet import quiet
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.rows import ABOVE, Headings, RowFindings, Table, TableRow

SpreadsheetKind = Literal["xlsx", "xls", "ods", "numbers", "xlsb"]

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NAMES: Mapping[SpreadsheetKind, str] = {
    "xls": "an old Excel workbook (.xls) or one with a password",
    "ods": "an OpenDocument spreadsheet (.ods)",
    "numbers": "a Numbers document",
    "xlsb": "a binary Excel workbook (.xlsb)",
}
_LARGEST = 2 << 30  # bytes of a workbook's unpacked parts
_LARGEST_TEXTS = 512 << 20  # of its texts, which openpyxl keeps in memory
_LOOKED_AT = 20  # rows in which the header must be
_BATCH = 500  # rows that openpyxl reads at a time
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error)
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')
_LINK = re.compile(rb'<(?:\w+:)?hyperlink\s(?=[^>]*\bid=)[^>]*?\bref="([A-Z]+)(\d+)')
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")

MERGED = "cells are merged; each row of a merged range gets its value"
LINK = "cells have a link behind their text, which is not read; write its address into the cell to use it"
FORMULA = "cells have a formula without a computed value and are read as empty; open the workbook in Excel and save it"
ERROR = "cells hold an error of the spreadsheet and are read as empty"
NO_HEADING = "cells are in a column without a heading; they are kept as 'column N'"
OTHER_SHEETS = "sheets of a workbook are not read; FILE.xlsx#SHEET names one"


_Rows = list[tuple[int, list[Any]]]
"""Rows with their numbers."""


class _Merged(NamedTuple):
    first_row: int
    last_row: int
    first_column: int
    last_column: int


def sheet_of(path: Path) -> tuple[Path, str]:
    """Return the file and the sheet that an address such as ``FILE.xlsx#SHEET`` names; the sheet is empty for other ones."""
    text = str(path)
    file, sign, sheet = text.rpartition("#")
    if sign and file.lower().endswith((".xlsx", ".xlsm")) and not exists(path):
        return Path(file), sheet
    return path, ""


def spreadsheet_kind(path: Path, start: bytes) -> SpreadsheetKind | None:
    """Return the kind of spreadsheet that a file is; None for other files."""
    if start.startswith(OLE):
        return "xls" if path.suffix.lower() in (".xls", ".xlt", ".xlsx") else None
    if not start.startswith(ZIP):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ARCHIVE_FAULTS:
        return "xlsx" if path.suffix.lower() in (".xlsx", ".xlsm") else None
    if "xl/workbook.bin" in names:
        return "xlsb"
    if any(name.startswith("xl/") for name in names):
        return "xlsx"
    if b"opendocument.spreadsheet" in start[:200]:
        return "ods"
    return "numbers" if any(name.startswith("Index/") and name.endswith(".iwa") for name in names) else None


def open_sheet(
    path: Path,
    kind: SpreadsheetKind,
    sheet: str,
    name: str,
    options: TableOptions,
    findings: Findings,
    fields: Sequence[str] = (),
    needed: Sequence[str] = (),
) -> Table:
    """Return the table of a workbook's sheet: the named one, else the one with a needed heading, else the first with rows.

    Raises:
        SourceError: if it cannot be read, if openpyxl is not installed, or if several sheets have a needed heading.
        UsageError: for a ``--column`` that does not fit.
    """
    if kind != "xlsx":
        raise SourceError(f"the table {name} is {_NAMES[kind]}, which is not read: save it as .xlsx or CSV")
    _check_size(path, name)
    wanted = {column_name(heading) for heading in (*needed, *options.headings.values())}
    with _opened(path, name) as book, _reading(name):
        found = {title: start for title in book.sheetnames if (start := _beginning(book[title]))}
    title = _chosen(found, sheet, wanted, name)
    place = _header_place(found[title], wanted)
    row, cells = found[title][place]
    headings = Headings(cells, options.headings, fields, name)
    others = [other for other in found if other != title and not sheet]
    reading = _Sheet(path, title, name, row, place, headings, others, _day_columns(found[title][place + 1 :]))
    return Table(name, "excel", headings, lambda: reading.rows(findings))


def _beginning(sheet: Any) -> _Rows:
    """Return the rows at the beginning that are not empty, with their numbers; empty for a chart."""
    if not hasattr(sheet, "reset_dimensions"):
        return []
    sheet.reset_dimensions()
    rows = enumerate(islice(sheet.iter_rows(values_only=True), _LOOKED_AT), start=1)
    return [(number, list(cells)) for number, cells in rows if any(cell is not None for cell in cells)]


def _chosen(found: Mapping[str, _Rows], sheet: str, wanted: set[str], name: str) -> str:
    """Return the title of the sheet to read."""
    listed = ", ".join(found) or "none"
    if sheet:
        if sheet not in found:
            raise SourceError(f"the workbook {name} has no sheet {sheet!r} with rows; its sheets with rows: {listed}")
        return sheet
    if not found:
        raise SourceError(f"the workbook {name} has no sheet with rows")
    fitting = [title for title, rows in found.items() if any(_known(cells, wanted) for _, cells in rows)]
    if len(fitting) > 1:
        raise SourceError(
            f"the workbook {name} has {len(fitting)} sheets that could be read: {', '.join(fitting)}; "
            f"name one, such as {name}#{fitting[0]}"
        )
    return (fitting or list(found))[0]


def _known(cells: Sequence[Any], wanted: set[str]) -> bool:
    return any(column_name(cell) in wanted for cell in cells if isinstance(cell, str))


def _header_place(rows: _Rows, wanted: set[str]) -> int:
    """Return the place of the header: a row with a needed heading, else the first whose cells are texts and not a title."""
    filled = [sum(cell is not None for cell in cells) for _, cells in rows]
    for place, (_, cells) in enumerate(rows):
        if _known(cells, wanted) and all(count < filled[place] for count in filled[:place]):
            return place
    widest = max(filled)
    for place, (_, cells) in enumerate(rows):
        texts = [cell for cell in cells if cell is not None]
        if len(texts) * 2 > widest and all(isinstance(cell, str) for cell in texts):
            return place
    return 0


class _Sheet:
    """A sheet that is read row by row."""

    def __init__(
        self,
        path: Path,
        title: str,
        name: str,
        row: int,
        above: int,
        headings: Headings,
        others: Sequence[str],
        days: Container[int],
    ) -> None:
        self._path, self._title, self._name, self._header_row = path, title, name, row
        self._above, self._headings, self._others, self._days = above, headings, others, days

    def rows(self, findings: Findings) -> Iterator[TableRow]:
        """Yield the rows below the header."""
        self._headings.report(findings)
        report = RowFindings(findings, self._name)
        if self._above:
            findings.add(ABOVE, f"{self._name}: {self._above} before row {self._header_row}", self._above)
        for other in self._others:
            findings.add(OTHER_SHEETS, f"{self._name}#{other}")
        for number, line, cells in self._cells(report):
            values = {self._headings.name_of(place): value for place, value in cells.items()}
            for place, value in cells.items():
                if place >= len(self._headings.names) or not self._headings.names[place]:
                    report.add(NO_HEADING, number, line, str(value))
            if values:
                yield TableRow(number, line, values)

    def _cells(self, report: RowFindings) -> Iterator[tuple[int, int, dict[int, Any]]]:
        """Yield number, row of the sheet, and the values that are not empty by their columns."""
        with _opened(self._path, self._name) as book:
            sheet = book[self._title]
            merged, has_formulas, links = _marks_of(self._path, sheet)
            merges, days = _Merges(merged), self._days
            formulas = _formulas_of(self._path, self._title, self._name) if has_formulas else repeat(())
            for line, (row, written) in enumerate(zip(_batched(sheet, self._name), formulas, strict=False), start=1):
                if line <= self._header_row:
                    continue
                number = line - self._header_row
                values = {
                    place: value for place, cell in enumerate(row) if (value := _value(cell, place in days)) is not None
                }
                for place in [place for place, value in values.items() if value is _ERROR]:
                    report.add(ERROR, number, line, str(row[place].value))
                    del values[place]
                for place in sorted(links.get(line, ())):
                    if "://" not in (text := str(values.get(place, ""))):
                        report.add(LINK, number, line, text)
                for place, cell in enumerate(written):
                    if place not in values and isinstance(cell.value, str) and cell.value.startswith("="):
                        report.add(FORMULA, number, line, cell.value)
                for place, value in merges.filled(line, values):
                    report.add(MERGED, number, line, str(value))
                    values[place] = value
                yield number, line, values


_ERROR = object()
_ZEROS = re.compile("0{2,}")


def _day_columns(rows: _Rows) -> set[int]:
    """Return the columns of days: Excel stores a day as its midnight, and most programs format it as a time too."""
    found: dict[int, bool] = {}
    for _, cells in rows:
        for place, cell in enumerate(cells):
            if isinstance(cell, datetime):
                found[place] = found.get(place, True) and cell.time() == time()
    return {place for place, is_day in found.items() if is_day}


def _value(cell: Any, is_day: bool) -> Any:
    """Return the value of a cell as Python has it; None for an empty one."""
    value = cell.value
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return _ERROR if cell.data_type == "e" else value
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int) and value >= 0 and _ZEROS.fullmatch(shape := str(cell.number_format)):
        return f"{value:0{len(shape)}d}"  # a catalogue number such as 000123
    if (
        isinstance(value, datetime)
        and value.time() == time()
        and (is_day or "h" not in str(cell.number_format).lower())
    ):
        return value.date()
    return value


class _Merges:
    """Merged ranges: the value of the first cell counts for each row of the range, in its first column."""

    def __init__(self, ranges: Sequence[_Merged]) -> None:
        self._waiting = sorted(ranges, reverse=True)
        self._active: list[tuple[_Merged, Any]] = []

    def filled(self, line: int, values: Mapping[int, Any]) -> list[tuple[int, Any]]:
        """Return the columns and values that a row gets from ranges that began above it. Rows must come in order."""
        self._active = [(area, value) for area, value in self._active if area.last_row >= line]
        found = [(area.first_column, value) for area, value in self._active if area.first_column not in values]
        while self._waiting and self._waiting[-1].first_row <= line:
            area = self._waiting.pop()
            if area.first_row == line and area.last_row > line and area.first_column in values:
                self._active.append((area, values[area.first_column]))
        return found


def _marks_of(path: Path, sheet: Any) -> tuple[list[_Merged], bool, dict[int, set[int]]]:
    """Return the merged ranges of a sheet, True if it has formulas, and the columns of links by row.

    openpyxl does not tell when it reads row by row.
    """
    merged: dict[_Merged, None] = {}
    links: dict[int, set[int]] = {}
    has_formulas, rest = False, b""
    with zipfile.ZipFile(path) as archive, archive.open(sheet._worksheet_path) as file:
        while chunk := file.read(1 << 20):
            text = rest + chunk
            has_formulas = has_formulas or bool(_FORMULA.search(text))
            for left, top, right, bottom in _MERGED.findall(text):
                merged[_Merged(int(top), int(bottom), _column(left), _column(right))] = None
            for left, top in _LINK.findall(text):
                links.setdefault(int(top), set()).add(_column(left))
            rest = text[-200:]
    return list(merged), has_formulas, links


def _column(letters: bytes) -> int:
    """Return the place of a column from 0."""
    place = 0
    for letter in letters:
        place = place * 26 + letter - 64
    return place - 1


# -- openpyxl ----------------------------------------------------------------------------------------------------------


def _check_size(path: Path, name: str) -> None:
    """Refuse a workbook whose unpacked parts are larger than any that Excel writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except ARCHIVE_FAULTS as error:
        raise SourceError(f"the workbook {name} cannot be read: it is damaged: {error}; save it again") from error
    texts = sum(part.file_size for part in parts if "sharedStrings" in part.filename)
    if sum(part.file_size for part in parts) > _LARGEST or texts > _LARGEST_TEXTS:
        raise SourceError(f"the workbook {name} is too large to be read as Excel: save it as CSV")
    for part in parts:  # openpyxl keeps a row, and what is nested in it, in memory
        if part.file_size > DEFAULT_LIMITS.small_bytes and part.file_size > DEFAULT_LIMITS.ratio * part.compress_size:
            raise SourceError(
                f"the workbook {name} is refused: its part {part.filename!r} expands "
                f"{part.file_size // max(part.compress_size, 1):,}-fold; allowed is {DEFAULT_LIMITS.ratio}-fold: save it as CSV"
            )


@contextmanager
def _opened(path: Path, name: str, *, formulas: bool = False) -> Iterator[Any]:
    try:
        with quiet():
            import openpyxl
    except ImportError:
        raise SourceError(
            f"the table {name} is an Excel workbook, which needs the extra excel: pip install 'bioclip-plugin[excel]'; "
            "or save it as CSV"
        ) from None
    with path.open("rb") as file:
        with _reading(name):
            book = openpyxl.load_workbook(file, read_only=True, data_only=not formulas)
        try:
            yield book
        finally:
            book.close()


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Read in silence; whatever openpyxl raises for a damaged workbook is one error that names it."""
    try:
        with quiet():
            yield
    except (OSError, LookupError, ValueError, TypeError, AttributeError, SyntaxError, EOFError, *_DAMAGED) as error:
        raise SourceError(f"the workbook {name} cannot be read: {error}; save it again, or as CSV") from error


def _batched(sheet: Any, name: str) -> Iterator[Any]:
    sheet.reset_dimensions()
    rows = sheet.iter_rows()
    while True:
        with _reading(name):
            batch = list(islice(rows, _BATCH))
        if not batch:
            return
        yield from batch


def _formulas_of(path: Path, title: str, name: str) -> Iterator[Any]:
    """Yield the rows of a sheet with formulas instead of their values."""
    with _opened(path, name, formulas=True) as book:
        yield from _batched(book[title], name)
