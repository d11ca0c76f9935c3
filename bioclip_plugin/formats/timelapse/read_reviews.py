"""Reviews in a table as the Timelapse image analyser exports it: File and RelativePath, and columns that each project defines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.formats.tables.read_rows import Row
from bioclip_plugin.items.media import Unlisted, path_of, uri_of
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
# What every export has, whatever the project's own columns are.
_STANDARD = frozenset(
    ("file", "relativepath", *_FOLDERS, "datetime", "date", "time", "utcoffset", "deleteflag", "imagequality", "id")
)
NAME_COLUMNS = ("scientificname", "species", "speciesname", "taxon", "animal", "commonname", "soort", "especie", "art")
"""Looked for in this order; a project may have called it anything, for which there is an option."""
_FLAGS = ("empty", "blank", "noanimal", "person", "human", "people", "vehicle")
_YES = frozenset(("true", "1", "yes", "y", "x"))
_LOOK_AT = 65_536
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def is_timelapse(header: Sequence[str]) -> bool:
    """Whether a table's columns are those of a Timelapse export."""
    names = {column_name(name) for name in header}
    return "file" in names and ("relativepath" in names or {"datetime", "deleteflag"} <= names)


def header_of(address: str) -> list[str]:
    """The columns of a text table; none where it is something else.

    Raises:
        SourceError: if the file cannot be read.
    """
    import csv
    import io

    try:
        with path_of(address).open("rb") as file:
            start = file.read(_LOOK_AT)
    except OSError as error:
        raise SourceError(f"{uri_of(address)} cannot be read: {error.strerror or error}") from error
    encoding = "utf-16" if start.startswith(_UTF_16) else "utf-8-sig"  # as Excel saves "Unicode text"
    first = start.decode(encoding, "replace").split("\n", 1)[0].rstrip("\r")
    separator = max((",", "\t", ";"), key=first.count)
    return [name.strip() for name in next(csv.reader(io.StringIO(first), delimiter=separator), [])]


def name_columns(header: Sequence[str], chosen: str | None) -> tuple[str, ...]:
    """The columns that hold the animals' names: the chosen one, else the first of the usual ones with its numbered fellows.

    Raises:
        SourceError: if there is none, with the columns that there are.
    """
    names = [column_name(name) for name in header]
    if chosen is not None:
        if column_name(chosen) not in names:
            raise SourceError(f"there is no column {chosen!r}; there are: {_own(header)}")
        return (column_name(chosen),)
    for usual in NAME_COLUMNS:
        found = [name for name in names if name.rstrip("0123456789") == usual]
        if found:
            return tuple(dict.fromkeys(found))
    if any(name in names for name in _FLAGS):
        return ()
    raise SourceError(
        f"no column of this Timelapse table is called like a species column; name it with --name-column; there are: {_own(header)}"
    )


def _own(header: Sequence[str]) -> str:
    return ", ".join(name for name in header if column_name(name) not in _STANDARD) or "none beside the standard ones"


def statements(address: str, zone: tzinfo, name_column: str | None = None) -> Iterator[Statement]:
    """One statement a row and species column that is filled in.

    Raises:
        SourceError: if the table cannot be read, or has no column of names.
    """
    columns = name_columns(header_of(address), name_column)
    for row in TableSource().rows(address):
        if isinstance(row, Unlisted):
            yield NotTaken(row.uri.rpartition("#")[2].replace("row=", "row "), "", "", row.reason)
        else:
            yield from _of_row(row, zone, columns)


def _of_row(row: Row, zone: tzinfo, columns: tuple[str, ...]) -> Iterator[Statement]:
    record = f"row {row.number}"
    cells = cells_of(row.values)
    image = image_of(cells)
    said = [(name, str(cells[name]).strip()) for name in columns if str(cells.get(name, "")).strip()]
    if not said:
        said = [(flag, flag) for flag in _FLAGS if str(cells.get(flag, "")).strip().lower() in _YES]
    if not said:
        yield NotReviewed(record)
    used = frozenset((*_STANDARD, *columns, *_FLAGS, *REVIEWER_COLUMNS, *TIME_COLUMNS, *COMMENT_COLUMNS))
    for column, name in said:
        try:
            yield Written(
                record=record,
                image=image,
                elsewhere=_other_places(cells, image),
                names={"scientificName": name},
                scientific=column.startswith("scientificname") and verdict_of(name) is None,
                reviewer=text_of(cells, REVIEWER_COLUMNS),
                reviewed_at=moment_of(cells, zone),
                comment=text_of(cells, COMMENT_COLUMNS),
                details=details_of(cells, row.values, used),
            )
        except BadCellError as error:
            yield NotTaken(record, image, name, str(error))


def image_of(cells: Mapping[str, Any]) -> str:
    """The image's path below the project's folder, with forward slashes."""
    parts = [str(cells.get(name, "")).strip().replace("\\", "/").strip("/") for name in ("relativepath", "file")]
    return "/".join(part for part in parts if part)


def _other_places(cells: Mapping[str, Any], image: str) -> tuple[str, ...]:
    """The image's path below the folder above the project's, where the table says what that is called."""
    folder = text_of(cells, _FOLDERS).replace("\\", "/").strip("/")
    return (f"{folder}/{image}",) if folder else ()
