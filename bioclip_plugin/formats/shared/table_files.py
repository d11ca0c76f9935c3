"""Tables with an image column: their header, and their rows one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.options import IMAGE_COLUMNS, TableOptions
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.rows import Table
from bioclip_plugin.formats.shared.embedded_images import image_cell, without_bytes
from bioclip_plugin.formats.shared.exported import has_events, is_exported, unguarded
from bioclip_plugin.formats.shared.table_rows import (
    BOX_COLUMNS,
    TABLE_FIELDS,
    Columns,
    Row,
    columns_of,
    skipped_row,
)
from bioclip_plugin.items.media import Unlisted, path_of, uri_of
from bioclip_plugin.items.web import is_web_address

_LOOKS_LIKE_A_FILE = re.compile(r"\S.*\.[A-Za-z][A-Za-z0-9]{1,4}\s*")
_BIN = re.compile(r"BOLD:[A-Z]{3}\d+")
_ROWS_SEEN = 20  # in which the column of the images is looked for


def image_table(
    address: str,
    options: TableOptions | None = None,
    findings: Findings | None = None,
    fields: Sequence[str] = TABLE_FIELDS,
) -> Table:
    """Open a table whose rows name images.

    Args:
        address: the table; of a workbook also ``FILE.xlsx#SHEET``.
        options: options of reading tables.
        findings: for what is wrong with its rows.
        fields: the fields that ``--column`` may name.

    Raises:
        SourceError: if it cannot be read, or is not a table.
        UsageError: for a ``--column`` with an unknown field or heading.
    """
    return open_table(path_of(address), options, findings, name=uri_of(address), fields=fields, needed=IMAGE_COLUMNS)


def header_of(address: str, options: TableOptions | None = None, fields: Sequence[str] = TABLE_FIELDS) -> list[str]:
    """Return the headings of a table as its columns are read; empty for a file that is not a table.

    Raises:
        UsageError: for a ``--column`` with an unknown field or heading.
    """
    try:
        return list(image_table(address, options, fields=fields).header)
    except SourceError:
        return []


def rows_of(
    address: str,
    options: TableOptions | None = None,
    findings: Findings | None = None,
    fields: Sequence[str] = TABLE_FIELDS,
) -> Iterator[Row | Unlisted]:
    """Yield the rows of a table, and a message for each one that cannot be read; arguments as of :func:`image_table`.

    The texts of our own exports are without the apostrophe that guards against formulas.

    Raises:
        SourceError: if the table cannot be read, or lacks an image column.
        UsageError: for a ``--column`` with an unknown field or heading.
    """
    table, shown = image_table(address, options, findings, fields), uri_of(address)
    columns = _columns(table, shown)
    has_guards = table.kind == "text" and (is_exported(table.header) or has_events(table.header))
    for number, line, cells, fault, undecoded in table:
        if fault:
            yield Unlisted(f"{shown}#row={number}", f"row {number} (line {line}) cannot be read: {fault}")
        else:
            values = {name: unguarded(cell) for name, cell in cells.items()} if has_guards else cells
            yield _row(shown, Row(number, columns, values, undecoded.get(columns.image, "")), findings)


def _row(table: str, row: Row, findings: Findings | None) -> Row | Unlisted:
    """Return a row with the bytes of an image that is in the table itself."""
    column, place = row.columns.image, f"{table}#row={row.number}"
    cells = without_bytes(row.values, column, findings, f"{table}, row {row.number}")
    name, data, fault = image_cell(cells.get(column))
    if fault:
        reason = f"column {row.columns.image_heading!r} cannot be read as an image: {fault}"
        return skipped_row(table, replace(row, values=cells), reason)
    if data is None and cells is row.values and name is cells.get(column):
        return row
    return replace(row, values={**cells, column: place if data is not None else name}, data=data)


def _columns(table: Table, shown: str) -> Columns:
    columns = columns_of(table.header)
    if columns is None:
        raise SourceError(
            f"the table {shown} has no image column: it has {table.headings.shown()}; one must be called "
            f"{', '.join(IMAGE_COLUMNS)}, or be named with --column image={_likely_heading(table)}"
        )
    if column_name(columns.image) == "uri" and _is_taxon_number(table, columns.image):
        raise SourceError(
            f"the table {shown}: the column {columns.image} holds barcode index numbers of BOLD, which are taxa and not images; "
            f"name the column of the images with --column image={_likely_heading(table)}"
        )
    if columns.box and len(columns.box) != len(BOX_COLUMNS):  # with a misspelt one the whole image would be classified
        raise SourceError(
            f"the table {shown} has only {', '.join(columns.box)} of the columns of a box; needed are {', '.join(BOX_COLUMNS)}, or none"
        )
    return replace(columns, image_heading=table.headings.written_as(columns.image))


def _is_taxon_number(table: Table, heading: str) -> bool:
    """True if the first cells of a column are numbers of clusters of barcodes, as in the tables of BIOSCAN and BOLD."""
    cells = [str(row.cells[heading]) for row in islice(table, _ROWS_SEEN) if heading in row.cells]
    return bool(cells) and all(_BIN.fullmatch(cell) for cell in cells)


def _likely_heading(table: Table) -> str:
    """Return the heading of the first column whose cells look like names of files or are addresses, else a word for it."""
    seen = list(islice(table, _ROWS_SEEN))
    for heading in table.header:
        cells = [str(row.cells[heading]) for row in seen if heading in row.cells]
        if cells and all(is_web_address(cell) or _LOOKS_LIKE_A_FILE.fullmatch(cell) for cell in cells):
            return heading if " " not in heading else f"'{heading}'"
    return "HEADING"
