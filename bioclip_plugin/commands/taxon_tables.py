"""Tables of taxa and checklists: CSV, TSV, Parquet and text files, one row at a time."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from bioclip_core.cells import column_name, plain_cells
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.names import clean_name
from bioclip_core.taxonomy import RANKS, Taxon, read_row
from bioclip_plugin.commands.reporting import printable
from bioclip_training.catalog.changes import count_label
from bioclip_training.catalog.names import cleaned

_RANK_COLUMNS = (*(rank.value for rank in RANKS), "specificEpithet", "scientificName")
_OTHER_COLUMNS = (
    "vernacularName", "common_name", "common", "taxonID", "source_id", "taxonRank", "verbatimTaxonRank", "identificationQualifier",
)  # fmt: skip
_NAME_COLUMNS = ("scientificName", "species", "name", "canonicalName", "taxon", "label")
_TEXT_SUFFIXES = (".csv", ".tsv", ".tab")
_PARQUET_ROWS = 8192  # in memory at a time
_ZIP = b"PK\x03\x04"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_START_BYTES = 4096  # enough to tell text from anything else


def read_taxa(path: Path, findings: Findings | None = None) -> Iterator[Taxon]:
    """Return the taxon of each row; an empty taxon for a row without a name.

    Args:
        findings: counts dropped rows and changed names.

    Raises:
        SourceError: if the table is missing, cannot be read, or lacks a column of a rank.
    """
    header, rows = _open_table(path)
    if not _known(header, _RANK_COLUMNS):
        raise SourceError(
            f"the table {path} lacks a column of a rank: its columns are {_shown(header)}; known are "
            f"{', '.join(_RANK_COLUMNS)}, and beside them {', '.join(_OTHER_COLUMNS)}"
        )
    known = _known(header, (*_RANK_COLUMNS, *_OTHER_COLUMNS))
    return _taxa(path, ({name: row.get(name) for name in known} for row in rows), findings)


def _taxa(path: Path, rows: Iterable[Mapping[str, Any]], findings: Findings | None) -> Iterator[Taxon]:
    for number, row in enumerate(rows, 2):  # row 1 is the header
        label = cleaned(plain_cells(row))
        if label.unread:  # "Unidentified beetle" of the kingdom Animalia is not the label Animalia
            label = replace(label, taxon=Taxon())
        if findings is not None:
            count_label(findings, label, f"row {number} of {path.name}")
        yield label.taxon


def read_checklist(path: Path) -> Iterator[str]:
    """Return the names of a checklist: the lines of a text file, or the names in a table.

    Raises:
        SourceError: if it is missing, cannot be read, or lacks a column of names.
    """
    if path.suffix.lower() not in (*_TEXT_SUFFIXES, ".parquet"):
        return _names_of_lines(path)
    header, rows = _open_table(path)
    if not _known(header, (*_NAME_COLUMNS, *_RANK_COLUMNS)):
        raise SourceError(
            f"the checklist {path} lacks a column of names: its columns are {_shown(header)}; known are "
            f"{', '.join(_NAME_COLUMNS)}, and columns of ranks"
        )
    return filter(None, map(_name_of, rows))


def _shown(header: Iterable[str]) -> str:
    return printable(", ".join(header)) or "none"


def _known(header: Iterable[str], names: Iterable[str]) -> list[str]:
    return [name for name in header if column_name(name) in map(column_name, names)]


def _names_of_lines(path: Path) -> Iterator[str]:
    with _text(path) as file:
        yield from filter(None, map(str.strip, file))


def _name_of(row: Mapping[str, Any]) -> str:
    """Return the scientific name of a row: from its ranks if they hold a whole one, else from its column of names."""
    cells = plain_cells(row)
    taxon, notes, *_ = read_row(cells)
    if (taxon.species and taxon.genus) or any("taxonRank says" in note for note in notes):
        return taxon.scientific_name
    name = next(filter(None, (clean_name(cells.get(column_name(column))) for column in _NAME_COLUMNS)), "")
    return name if name and not taxon.species else taxon.scientific_name or name


def _open_table(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return the names of the columns and the rows."""
    if path.suffix.lower() == ".parquet":
        return _open_parquet(path)
    with _text(path) as file:
        first = file.readline()
    separator = max((",", "\t", ";"), key=first.count)
    header = [name.strip() for name in next(_cells([first], separator), [])]
    return header, _text_rows(path, header, separator)


def _text_rows(path: Path, header: list[str], separator: str) -> Iterator[dict[str, Any]]:
    with _text(path) as file:
        file.readline()
        for cells in _cells(file, separator):
            yield dict(zip(header, cells, strict=False))


def _cells(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Yield the cells of each line. GBIF's tab-separated checklists do not quote: there a quotation mark is a character."""
    if separator == "\t":
        return ([cell.strip('"') for cell in line.rstrip("\r\n").split("\t")] for line in lines)
    return csv.reader(lines, delimiter=separator)


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    """Open a text file; whatever cannot be read in the block is one error that names the file."""
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
        if start.startswith(_ZIP) and not zipfile.is_zipfile(path):
            raise SourceError(f"the zip archive {path} is truncated or damaged: copy it again")
        if start.startswith(_ZIP):
            raise SourceError(f"{path} is a zip archive or a spreadsheet, not a table of text: give a CSV or TSV file")
        if b"\x00" in start and not start.startswith(_UTF_16):
            raise SourceError(f"{path} is not a text file: give a CSV, TSV or Parquet file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise SourceError(f"the table {path} is not UTF-8: save it as UTF-8 and try again") from None
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(f"the table {path} cannot be read: {reason}") from None


def _open_parquet(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"the table {path} cannot be read as Parquet: {error}") from None
    header = [str(name) for name in file.schema_arrow.names]
    known = _known(header, (*_NAME_COLUMNS, *_RANK_COLUMNS, *_OTHER_COLUMNS))
    batches = file.iter_batches(batch_size=_PARQUET_ROWS, columns=known)
    return header, (row for batch in batches for row in batch.to_pylist())
