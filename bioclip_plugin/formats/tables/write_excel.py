"""Excel: the same table as a workbook, written row by row."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.files.archives import ARCHIVE_FAULTS
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.tables.layout import Layout, begins_like_ours, layout_of, missing_columns
from bioclip_plugin.formats.tables.write import TABLE_OPTIONS

MOST_ROWS = 1_048_576
"""Limit of Excel for the rows of a sheet, its header included."""
MOST_COLUMNS = 16_384
"""Limit of Excel for the columns of a sheet."""
LONGEST_TEXT = 32_767
"""Limit of Excel for the characters of a cell."""

_CONTROLS = "texts have control characters that a workbook cannot hold; they are replaced by \N{REPLACEMENT CHARACTER}"
_CUT = f"texts are longer than the {LONGEST_TEXT:,} characters of a cell in Excel and were cut"
_SHOWN = 60  # characters of a value in a message
_ILLEGAL_TOO = re.compile("[\ud800-\udfff\ufffe\uffff]")  # XML cannot hold them either
_SHEET = "results"
_MEMBER = "xl/workbook.xml"
_TEXT = re.compile(r"<t[^>]*>([^<]*)</t>")
_FIXED = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip file: an export's bytes depend on the store alone


class ExcelExporter:
    """One sheet with the columns of the CSV. Text is stored as text, also where it looks like a formula."""

    name = "xlsx"
    description = f"an Excel workbook, at most {MOST_ROWS - 1:,} rows (extra excel)"
    folder = False
    options = TABLE_OPTIONS
    names_deployments = True

    def write(self, path: Path, export: Export) -> int:
        """Write the workbook.

        Raises:
            UsageError: if openpyxl is not installed.
            BioclipError: for more rows than Excel opens, before writing if their number is known.
        """
        _openpyxl()
        if not export.selection:  # the size of a selection is known only after reading
            counts = export.store.summary(export.run)
            rows = max(counts.regions + counts.failed + counts.todo, counts.listed)
            if rows >= MOST_ROWS and export.options.per == "region":
                raise _too_many(f"this run has at least {rows:,}")
        raw = path.with_name(f"{path.name}.raw")
        try:
            count = _write(raw, export)
            _packed_alike(raw, path, export.moment)
        finally:
            raw.unlink(missing_ok=True)
        return count

    def recognises(self, path: Path) -> bool:
        try:
            with zipfile.ZipFile(path) as packed:
                return _MEMBER in packed.namelist()
        except ARCHIVE_FAULTS:
            return False

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        openpyxl = _openpyxl()
        if _is_ours(path):
            return
        with path.open("rb") as file:  # a draft's name lacks the suffix that openpyxl asks of a path
            try:
                book = openpyxl.load_workbook(file, read_only=True)
                header = next((next(one.iter_rows(max_row=1, values_only=True), ()) for one in book.worksheets), ())
            except Exception as error:  # openpyxl passes on any error of the zip and XML readers
                yield Problem(path.name, "", f"it cannot be read as a workbook: {error}")
                return
        if missing := missing_columns(list(map(str, header))):
            yield Problem(path.name, "row 1", f"columns are missing: {', '.join(missing)}")


def _is_ours(path: Path) -> bool:
    """True if a workbook is whole and begins with our columns; only its beginning is parsed, openpyxl would parse all of it."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open("xl/worksheets/sheet1.xml") as texts:
            first = _TEXT.findall(texts.read(65_536).decode("utf-8", "replace"))
            return begins_like_ours(tuple(first)) and packed.testzip() is None
    except (KeyError, *ARCHIVE_FAULTS):
        return False


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError:
        raise BioclipError(
            "an Excel workbook needs openpyxl: pip install 'bioclip-plugin[excel]', or export as csv or parquet"
        ) from None
    return openpyxl


def _too_many(what: str) -> BioclipError:
    return BioclipError(
        f"Excel opens at most {MOST_ROWS - 1:,} rows below the header, and {what}: export as csv or parquet, or a part with "
        "--since, --taxon or --min-probability"
    )


def _write(path: Path, export: Export) -> int:
    openpyxl, layout = _openpyxl(), layout_of(export)
    if len(layout.columns) > MOST_COLUMNS:
        raise BioclipError(
            f"Excel opens at most {MOST_COLUMNS:,} columns, and this table has {len(layout.columns):,}: name fewer with "
            "--keep-columns, or export as csv or parquet"
        )
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(_SHEET)
    sheet.freeze_panes = "B2"
    as_cells = _cells_for(sheet, layout, export.findings)
    sheet.append(as_cells(layout.columns))
    count = 0
    try:
        for count, cells in enumerate(layout.rows, start=1):
            if count >= MOST_ROWS:
                raise _too_many("this export has more")
            sheet.append(as_cells(cells))
    except BaseException:
        sheet.close()  # it has a file of its own, and Python warns of a sheet that is not closed
        raise
    book.properties.creator = export.classified_by
    book.properties.created = export.moment.replace(tzinfo=None)
    book.save(path)
    return count


def _cells_for(sheet: Any, layout: Layout, findings: Findings) -> Callable[[Sequence[Any]], list[Any]]:
    """Return a function that turns the cells of a row into those of a sheet; what Excel cannot hold is reported."""
    openpyxl = _openpyxl()
    illegal = openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE

    def shown(cell: Any, column: str, row: Sequence[Any]) -> Any:
        if not isinstance(cell, str):
            return cell
        cell = cell.replace("\r\n", "\n").replace("\r", "\n")  # XML's readers do the same
        text = _ILLEGAL_TOO.sub("\N{REPLACEMENT CHARACTER}", illegal.sub("\N{REPLACEMENT CHARACTER}", cell))
        if text != cell:
            findings.add(_CONTROLS, f"{row[0]}: {column} {cell[:_SHOWN]!r}")
        if len(text) > LONGEST_TEXT:
            findings.add(_CUT, f"{row[0]}: {column} {cell[:_SHOWN]!r}…")
            text = text[:LONGEST_TEXT]
        if not text.startswith(("=", "#")):  # a formula, and the words for errors
            return text
        plain = openpyxl.cell.WriteOnlyCell(sheet, text)
        plain.data_type = "s"
        return plain

    return lambda cells: [shown(cell, column, cells) for cell, column in zip(cells, layout.columns, strict=True)]


def _packed_alike(raw: Path, path: Path, moment: datetime) -> None:
    """Write the same workbook with fixed times, since openpyxl stores the time of writing."""
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for name in sorted(source.namelist(), key=lambda name: (name != "[Content_Types].xml", name)):
            member = zipfile.ZipInfo(name, _FIXED)
            member.compress_type = zipfile.ZIP_DEFLATED
            with source.open(name) as read, target.open(member, "w", force_zip64=True) as written:
                if name == "docProps/core.xml":
                    written.write(re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + stamp, read.read()))
                else:
                    shutil.copyfileobj(read, written)
