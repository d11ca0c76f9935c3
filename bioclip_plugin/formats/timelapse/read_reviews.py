"""Reviews in a table of the Timelapse image analyser: File and RelativePath, and columns that each project defines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_plugin.formats.shared.review_rows import (
    REVIEW_FIELDS,
    ImportOptions,
    NotReviewed,
    Statement,
    Written,
    cells_of,
    completed,
    statements_of,
    text_of,
    verdict_of,
)
from bioclip_plugin.formats.shared.review_times import ReviewTimes
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.shared.table_rows import Row
from bioclip_plugin.formats.timelapse.layout import FOLDERS, STANDARD, image_of

NAME_COLUMNS = ("scientificname", "species", "speciesname", "taxon", "animal", "commonname", "soort", "especie", "art")
"""Usual names of a project's species column, in the order in which they are tried; an option names any other."""
_FLAGS = ("empty", "blank", "noanimal", "person", "human", "people", "vehicle")
_YES = frozenset(("true", "1", "yes", "y", "x"))


def name_columns(header: Sequence[str], chosen: str | None) -> tuple[str, ...]:
    """Return the columns of the animals' names: the chosen one, else the first usual one with its numbered variants.

    Raises:
        SourceError: if there is none, with the columns of the table.
    """
    names = [column_name(name) for name in header]
    own = ", ".join(name for name in header if column_name(name) not in STANDARD) or "none beside the standard ones"
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
        f"this Timelapse table lacks a column with a usual name for species; name it with --name-column; there are: {own}"
    )


def statements(address: str, times: ReviewTimes, options: ImportOptions | None = None) -> Iterator[Statement]:
    """Yield one statement per row and filled-in species column.

    Args:
        address: the table.
        times: reads the times of the reviews.
        options: options of reading it; a column that they name for the names is the only one that is read.

    Raises:
        SourceError: if the table cannot be read, or lacks a column of names.
    """
    options = options or ImportOptions()
    header = header_of(address, options, REVIEW_FIELDS)
    columns = name_columns(header, "scientificName" if options.has_chosen_names else None)
    chosen = options.has_chosen_names

    def read(row: Row, record: str) -> Iterator[Statement]:
        cells = cells_of(row.values)
        named = [(name, str(cells[name]).strip()) for name in columns if str(cells.get(name, "")).strip()] or [
            (flag, flag) for flag in _FLAGS if str(cells.get(flag, "")).strip().lower() in _YES
        ]
        if not named:
            yield NotReviewed(record)
        image, folder = image_of(cells), text_of(cells, FOLDERS).replace("\\", "/").strip("/")
        for column, name in named:
            draft = Written(
                record=record,
                image=image,
                elsewhere=(f"{folder}/{image}",) if folder else (),
                names={"scientificName": name},
                scientific=not chosen and column.startswith("scientificname") and verdict_of(name) is None,
            )
            yield completed(draft, cells, row.values, times, frozenset((*STANDARD, *columns, *_FLAGS)))

    return statements_of(rows_of(address, options, options.findings, REVIEW_FIELDS), read)
