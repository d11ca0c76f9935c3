"""Tables of taxa and checklists, one row at a time: tables of any kind, and text files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name, plain_cells
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.names import clean_name
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.reading import is_table_name, lines_of, open_table
from bioclip_core.tables.rows import Table, TableRow
from bioclip_core.taxonomy import RANKS, Taxon, read_row
from bioclip_plugin.commands.reporting import printable
from bioclip_training.catalog.naming.changes import count_label
from bioclip_training.catalog.naming.name_decisions import NameDecisions

_RANK_COLUMNS = (*(rank.value for rank in RANKS), "specificEpithet", "scientificName")
_OTHER_COLUMNS = (
    "vernacularName", "common_name", "common", "taxonID", "source_id", "taxonRank", "verbatimTaxonRank", "identificationQualifier",
)  # fmt: skip
_NAME_COLUMNS = ("scientificName", "species", "name", "canonicalName", "taxon", "label")


def read_taxa(
    path: Path,
    findings: Findings | None = None,
    options: TableOptions | None = None,
    names: NameDecisions | None = None,
) -> Iterator[Taxon]:
    """Return the taxon of each row; an empty taxon for a row without a name.

    Args:
        path: a table in text, a workbook or a Parquet file.
        findings: counts dropped rows and changed names.
        options: options of reading tables.
        names: decisions about names that are not scientific ones.

    Raises:
        SourceError: if the table is missing, cannot be read, or lacks a column of a rank.
        UsageError: for a ``--column`` with an unknown field or heading.
    """
    names = names or NameDecisions()
    needed = (*_RANK_COLUMNS, *_OTHER_COLUMNS[:3], "label") if names.options.plain_labels else _RANK_COLUMNS
    table = _opened(path, options, findings, needed)
    if not _known(table.header, needed):
        raise SourceError(
            f"the table {path} lacks a column of a rank: its columns are {_shown(table)}; known are {', '.join(_RANK_COLUMNS)}, "
            f"and beside them {', '.join(_OTHER_COLUMNS)}; --column scientificName=HEADING names one"
        )
    known = _known(table.header, (*_RANK_COLUMNS, *_OTHER_COLUMNS, *needed))
    return _taxa(path, ((row, {name: row.cells.get(name) for name in known}) for row in _rows(table)), findings, names)


def _taxa(
    path: Path, rows: Iterable[tuple[TableRow, Mapping[str, Any]]], findings: Findings | None, names: NameDecisions
) -> Iterator[Taxon]:
    for row, cells in rows:
        for label in names.read_all(plain_cells(cells)):
            if label.unread:  # "Unidentified beetle" of the kingdom Animalia is not the label Animalia
                label = replace(label, taxon=Taxon())
            if findings is not None:
                count_label(findings, label, f"row {row.line} of {path.name}")  # the header is row 1
            yield label.taxon


def read_checklist(path: Path, findings: Findings | None = None, options: TableOptions | None = None) -> Iterator[str]:
    """Return the names of a checklist: the lines of a text file, or the names in a table.

    Args:
        path: a text file, a table in text, a workbook or a Parquet file.
        findings: counts rows that are not as they should be.
        options: options of reading tables.

    Raises:
        SourceError: if it is missing, cannot be read, or lacks a column of names.
        UsageError: for a ``--column`` with an unknown field or heading.
    """
    if not is_table_name(path) and not (options and options.headings):
        return lines_of(path, options, findings)
    table = _opened(path, options, findings, (*_NAME_COLUMNS, *_RANK_COLUMNS))
    if not _known(table.header, (*_NAME_COLUMNS, *_RANK_COLUMNS)):
        raise SourceError(
            f"the checklist {path} lacks a column of names: its columns are {_shown(table)}; known are "
            f"{', '.join(_NAME_COLUMNS)}, and columns of ranks; --column scientificName=HEADING names one"
        )
    return filter(None, (_name_of(row.cells) for row in _rows(table)))


def _opened(path: Path, options: TableOptions | None, findings: Findings | None, needed: Sequence[str]) -> Table:
    fields = tuple(dict.fromkeys((*_RANK_COLUMNS, *_NAME_COLUMNS, *_OTHER_COLUMNS)))
    return open_table(path, options, findings, fields=fields, needed=needed)


def _rows(table: Table) -> Iterator[TableRow]:
    """Yield the rows.

    Raises:
        SourceError: for a row that cannot be read: a taxon would be missing.
    """
    for row in table:
        if row.fault:
            raise SourceError(f"the table {table.name}, row {row.number} (line {row.line}) cannot be read: {row.fault}")
        yield row


def _shown(table: Table) -> str:
    return printable(table.headings.shown())


def _known(header: Iterable[str], names: Iterable[str]) -> list[str]:
    return [name for name in header if column_name(name) in map(column_name, names)]


def _name_of(row: Mapping[str, Any]) -> str:
    """Return the scientific name of a row: from its ranks if they hold a whole one, else from its column of names."""
    cells = plain_cells(row)
    taxon, notes, *_ = read_row(cells)
    if (taxon.species and taxon.genus) or any("taxonRank says" in note for note in notes):
        return taxon.scientific_name
    name = next(filter(None, (clean_name(cells.get(column_name(column))) for column in _NAME_COLUMNS)), "")
    return name if name and not taxon.species else taxon.scientific_name or name
