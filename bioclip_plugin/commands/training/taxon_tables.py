"""Tables of taxa and checklists: CSV, TSV, Parquet and text files, a row at a time."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bioclip_core.cells import column_name, plain_cells
from bioclip_core.errors import SourceError
from bioclip_core.names import clean_name
from bioclip_core.taxonomy import RANKS, Taxon, taxon_from_row
from bioclip_plugin.commands.reporting import printable

_RANK_COLUMNS = (*(rank.value for rank in RANKS), "specificEpithet", "scientificName")
_OTHER_COLUMNS = ("vernacularName", "common_name", "common", "taxonID", "source_id")
_NAME_COLUMNS = ("scientificName", "species", "name", "canonicalName", "taxon", "label")
_TEXT_SUFFIXES = (".csv", ".tsv", ".tab")
_BATCH = 8192  # Parquet rows in memory at a time
_ZIP = b"PK\x03\x04"
_LOOKED_AT = 4096  # bytes, for whether it is text at all


def read_taxa(path: Path) -> Iterator[Taxon]:
    """The taxon of each row; an empty one for a row without a name.

    Raises:
        SourceError: if the table is missing, cannot be read, or has no column of a rank.
    """
    header, rows = _open_table(path)
    if not _known(header, _RANK_COLUMNS):
        raise SourceError(
            f"the table {path} has no column of a rank: it has {printable(', '.join(header)) or 'none'}; read are "
            f"{', '.join(_RANK_COLUMNS)}, and beside them {', '.join(_OTHER_COLUMNS)}"
        )
    read = _known(header, (*_RANK_COLUMNS, *_OTHER_COLUMNS))
    return (taxon_from_row({name: row.get(name) for name in read}) for row in rows)


def read_checklist(path: Path) -> Iterator[str]:
    """The names of a checklist: a name a line of a text file, or from the columns of a table.

    Raises:
        SourceError: if it is missing, cannot be read, or has no column of names.
    """
    if path.suffix.lower() not in (*_TEXT_SUFFIXES, ".parquet"):
        return _lines(path)
    header, rows = _open_table(path)
    if not _known(header, (*_NAME_COLUMNS, *_RANK_COLUMNS)):
        raise SourceError(
            f"the checklist {path} has no column of names: it has {printable(', '.join(header)) or 'none'}; read are "
            f"{', '.join(_NAME_COLUMNS)}, and columns of ranks"
        )
    return (name for row in rows if (name := _name_of(row)))


def _lines(path: Path) -> Iterator[str]:
    with _reading(path), _text(path) as file:
        yield from (line.strip() for line in file if line.strip())


def _name_of(row: Mapping[str, Any]) -> str:
    """The whole scientific name of a row: from its ranks where they hold one, else from its column of names."""
    taxon = taxon_from_row(row)
    if taxon.species and taxon.genus:
        return taxon.scientific_name
    cells = plain_cells(row)
    named = next(
        (clean_name(cells[column_name(n)]) for n in _NAME_COLUMNS if clean_name(cells.get(column_name(n)))), ""
    )
    return named if named and not taxon.species else taxon.scientific_name or named


def _known(header: Iterable[str], names: Iterable[str]) -> list[str]:
    wanted = {column_name(name) for name in names}
    return [name for name in header if column_name(name) in wanted]


def _open_table(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    if path.suffix.lower() == ".parquet":
        return _open_parquet(path)
    with _reading(path), _text(path) as file:
        first = file.readline()
    separator = max((",", "\t", ";"), key=first.count)
    header = [name.strip() for name in next(_cells([first], separator), [])]
    return header, _text_rows(path, header, separator)


def _text_rows(path: Path, header: list[str], separator: str) -> Iterator[dict[str, Any]]:
    with _reading(path), _text(path) as file:
        file.readline()
        for cells in _cells(file, separator):
            yield dict(zip(header, cells, strict=False))


def _cells(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Tab-separated checklists (GBIF's) do not quote: there a quotation mark within a cell is part of it."""
    if separator == "\t":
        return ([cell.strip('"') for cell in line.rstrip("\r\n").split("\t")] for line in lines)
    return csv.reader(lines, delimiter=separator)


def _text(path: Path) -> IO[str]:
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if start.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise SourceError(f"the zip archive {path} is truncated or damaged: copy it again")
    if start.startswith(_ZIP):
        raise SourceError(f"{path} is a zip archive or a spreadsheet, no table of text: give a CSV or TSV file")
    if b"\x00" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{path} is no text: give a CSV, TSV or Parquet file")
    return path.open(encoding="utf-8-sig", newline="")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"the table {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SourceError(f"the table {path} is not UTF-8: save it as UTF-8 and try again") from None
    except csv.Error as error:
        raise SourceError(f"the table {path} cannot be read: {error}") from None


def _open_parquet(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"the table {path} cannot be read as Parquet: {error}") from None
    header = [str(name) for name in file.schema_arrow.names]
    read = _known(header, (*_NAME_COLUMNS, *_RANK_COLUMNS, *_OTHER_COLUMNS))
    return header, (row for batch in file.iter_batches(batch_size=_BATCH, columns=read) for row in batch.to_pylist())
