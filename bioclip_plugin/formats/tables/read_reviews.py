"""Reviews in a table with an image column: our own columns, Darwin Core's, or an export of ours that was filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.tables.options import IMAGE_COLUMNS
from bioclip_plugin.formats.shared.exported import guarded, has_events, is_exported
from bioclip_plugin.formats.shared.review_rows import (
    BOX_COLUMNS,
    COMMENT_COLUMNS,
    DETAIL_COLUMNS,
    REVIEW_FIELDS,
    REVIEWER_COLUMNS,
    TIME_COLUMNS,
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
from bioclip_plugin.formats.tables.columns import OWN_COLUMNS, REVIEW_COLUMNS

VERDICT_COLUMNS = ("reviewverdict", "verdict", "observationtype")
EVENT_COLUMNS = ("event", "eventid", "sequence", "sequenceid")
SCIENTIFIC_COLUMNS = (
    "reviewscientificname", "scientificname", "verbatimscientificname", "kingdom", "phylum", "class", "order", "family",
    "genus", "specificepithet", "taxonrank",
)  # fmt: skip
LOOSE_COLUMNS = ("reviewname", "species", "name", "taxon", "commonname", "vernacularname", "label")
"""Columns for any name of an animal: a name in them must be known."""

# The model's columns are never read as a review. They are told by their exact names, so that a scientificName that a
# reviewer added beside our scientific_name is the reviewer's.
_MODELS = OWN_COLUMNS - frozenset(REVIEW_COLUMNS) - frozenset(("uri", "frame"))
_USED = frozenset(
    (*VERDICT_COLUMNS, *SCIENTIFIC_COLUMNS, *LOOSE_COLUMNS, *BOX_COLUMNS[0], *BOX_COLUMNS[1], "bbox", "event", "sequence",
     "frame", "framenumber")
)  # fmt: skip
READ_COLUMNS = (
    _USED | DETAIL_COLUMNS | {*REVIEWER_COLUMNS, *TIME_COLUMNS, *COMMENT_COLUMNS, *EVENT_COLUMNS, *IMAGE_COLUMNS}
)
"""Comparable names of all columns that a review is read from."""


def statements(address: str, times: ReviewTimes, options: ImportOptions | None = None) -> Iterator[Statement]:
    """Yield one statement per row.

    Args:
        address: the table.
        times: reads the times of the reviews.
        options: options of reading it; a column that they name for the names is the only one that is read.

    Raises:
        SourceError: if the table cannot be read or lacks an image column.
    """
    options = options or ImportOptions()
    name_column = "scientificName" if options.has_chosen_names else None
    header = frozenset(header_of(address, options, REVIEW_FIELDS))
    of_images, of_events = is_exported(header), has_events(header)
    exported = frozenset(map(column_name, header)) if of_images or of_events else frozenset()

    def read(row: Row, record: str) -> Iterator[Statement]:
        values = {name: value for name, value in row.values.items() if name != row.columns.image}
        own: dict[str, Any] = {}
        if exported:
            own = {name: value for name, value in values.items() if name.startswith("region_") or name == "first_frame"}
            own |= {"frame": own.pop("first_frame")} if "first_frame" in own else {}
            event = values.get("event", "") if of_events else ""
            values = {name: value for name, value in values.items() if name not in _MODELS}
            own |= {"event": event} if event else {}
        cells = cells_of({**values, **own}, has_guards=not exported)
        image = row.image if exported else row.image.strip()
        event = text_of(cells, EVENT_COLUMNS)
        image = "" if of_events and event else image
        names, scientific = _names(cells, name_column)
        draft = Written(
            record=record,
            image=image,
            elsewhere=(f"'{image}",) if exported and image and guarded(image) != image else (),  # of an older export
            event="" if image else event,
            verdict=text_of(cells, VERDICT_COLUMNS),
            names=names,
            scientific=scientific,
            exported=exported,
        )
        used = _USED | {column_name(name_column or "")}
        if draft.verdict or names:
            yield completed(draft, cells, values, times, used, has_boxes=True)
        else:
            yield NotReviewed(record)

    return statements_of(rows_of(address, options, options.findings, REVIEW_FIELDS), read)


def _names(cells: Mapping[str, Any], name_column: str | None) -> tuple[dict[str, Any], bool]:
    """Return the cells that name a taxon, with Darwin Core's names, and whether they hold scientific names."""
    if name_column is not None:
        own = str(cells.get(column_name(name_column), "")).strip()
        return ({"scientificName": own} if own else {}), False
    found = {name: cells[name] for name in SCIENTIFIC_COLUMNS if str(cells.get(name, "")).strip()}
    if "reviewscientificname" in found:
        found["scientificname"] = found.pop("reviewscientificname")
    loose = text_of(cells, LOOSE_COLUMNS)
    if not found.keys() - {"taxonrank"}:
        return ({"scientificName": loose} if loose else {}), False
    if "genus" in found and loose and str(cells.get("species", "")).strip():
        found["species"] = cells["species"]
    # A word for "no animal" may take the place of the name.
    return found, verdict_of(str(found.get("scientificname", ""))) is None
