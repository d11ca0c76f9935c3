"""Reviews in tables that the Timelapse image analyser exports: File and RelativePath, and columns that each project defines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.shared.table_rows import Row
from bioclip_plugin.items.media import Unlisted
from bioclip_plugin.reviews.words import verdict_of
from bioclip_plugin.reviews.written import (
    COMMENT_COLUMNS,
    REVIEWER_COLUMNS,
    TIME_COLUMNS,
    BadCellError,
    NotReviewed,
    NotTaken,
    Statement,
    Written,
    cells_of,
    details_of,
    moment_of,
    text_of,
)

_FOLDERS = ("rootfolder", "folder")
# The columns of every export, whatever the project's own columns are.
_STANDARD = frozenset(
    ("file", "relativepath", *_FOLDERS, "datetime", "date", "time", "utcoffset", "deleteflag", "imagequality", "id")
)
NAME_COLUMNS = ("scientificname", "species", "speciesname", "taxon", "animal", "commonname", "soort", "especie", "art")
"""Usual names of the column of species, in the order in which they are tried; an option names any other column."""
_FLAGS = ("empty", "blank", "noanimal", "person", "human", "people", "vehicle")
_YES = frozenset(("true", "1", "yes", "y", "x"))
_USED = frozenset((*_STANDARD, *_FLAGS, *REVIEWER_COLUMNS, *TIME_COLUMNS, *COMMENT_COLUMNS))


def is_timelapse(header: Sequence[str]) -> bool:
    """True if a table's columns are those of a Timelapse export."""
    names = {column_name(name) for name in header}
    return "file" in names and ("relativepath" in names or {"datetime", "deleteflag"} <= names)


def name_columns(header: Sequence[str], chosen: str | None) -> tuple[str, ...]:
    """Return the columns of species: the chosen one, else the first usual one, with its numbered companions.

    Raises:
        SourceError: if there is none, with the columns that there are.
    """
    names = [column_name(name) for name in header]
    own = ", ".join(name for name in header if column_name(name) not in _STANDARD) or "none beside the standard ones"
    if chosen is not None:
        if column_name(chosen) not in names:
            raise SourceError(f"there is no column {chosen!r}; there are: {own}")
        return (column_name(chosen),)
    for usual in NAME_COLUMNS:
        found = [name for name in names if name.rstrip("0123456789") == usual]
        if found:
            return tuple(dict.fromkeys(found))
    if any(name in names for name in _FLAGS):
        return ()
    raise SourceError(
        f"none of the columns of this Timelapse table has a usual name of a species column; name it with --name-column; there are: {own}"
    )


def statements(address: str, zone: tzinfo, name_column: str | None = None) -> Iterator[Statement]:
    """Yield one statement per row and species column that is filled in.

    Args:
        address: path of the table.
        zone: time zone of times without one.
        name_column: column that holds the name, if it is not one of the usual ones.

    Raises:
        SourceError: if the table cannot be read, or has no column of names.
    """
    columns = name_columns(header_of(address), name_column)
    for row in rows_of(address):
        if isinstance(row, Unlisted):
            yield NotTaken(row.uri.rpartition("#")[2].replace("row=", "row "), "", "", row.reason)
        else:
            yield from _of_row(row, zone, columns)


def _of_row(row: Row, zone: tzinfo, columns: tuple[str, ...]) -> Iterator[Statement]:
    record = f"row {row.number}"
    cells = cells_of(row.values)
    image = image_of(cells)
    folder = text_of(cells, _FOLDERS).replace("\\", "/").strip("/")
    names = [(name, text) for name in columns if (text := str(cells.get(name, "")).strip())]
    if not names:
        names = [(flag, flag) for flag in _FLAGS if str(cells.get(flag, "")).strip().lower() in _YES]
    if not names:
        yield NotReviewed(record)
    for column, name in names:
        try:
            yield Written(
                record=record,
                image=image,
                elsewhere=(f"{folder}/{image}",) if folder else (),
                names={"scientificName": name},
                scientific=column.startswith("scientificname") and verdict_of(name) is None,
                reviewer=text_of(cells, REVIEWER_COLUMNS),
                reviewed_at=moment_of(cells, zone),
                comment=text_of(cells, COMMENT_COLUMNS),
                details=details_of(cells, row.values, _USED | {*columns}),
            )
        except BadCellError as error:
            yield NotTaken(record, image, name, str(error))


def image_of(cells: Mapping[str, Any]) -> str:
    """Return the image's path below the project's folder, with forward slashes."""
    parts = [str(cells.get(name, "")).strip().replace("\\", "/").strip("/") for name in ("relativepath", "file")]
    return "/".join(filter(None, parts))
