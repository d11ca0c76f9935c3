"""Reviews in a table with an image column: our own columns, Darwin Core's, or an export of ours that somebody filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any

from bioclip_core.cells import column_name
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.shared.table_rows import Row
from bioclip_plugin.formats.tables.columns import COLUMNS as EXPORTED
from bioclip_plugin.formats.tables.columns import REVIEW_COLUMNS
from bioclip_plugin.items.media import Unlisted
from bioclip_plugin.reviews.words import verdict_of
from bioclip_plugin.reviews.written import (
    BOX_COLUMNS,
    COMMENT_COLUMNS,
    REVIEWER_COLUMNS,
    TIME_COLUMNS,
    BadCellError,
    NotReviewed,
    NotTaken,
    Statement,
    Written,
    box_of,
    cells_of,
    details_of,
    frame_of,
    moment_of,
    text_of,
    unguarded,
)
from bioclip_plugin.store.records import ITEM_STATUSES

VERDICT_COLUMNS = ("reviewverdict", "verdict", "observationtype")
EVENT_COLUMNS = ("event", "eventid", "sequence", "sequenceid")
SCIENTIFIC_COLUMNS = (
    "reviewscientificname", "scientificname", "verbatimscientificname", "kingdom", "phylum", "class", "order", "family",
    "genus", "specificepithet", "taxonrank",
)  # fmt: skip
LOOSE_COLUMNS = ("reviewname", "species", "name", "taxon", "commonname", "vernacularname", "label")
"""May hold anything that people call an animal: a name in them has to be known."""

# What the model said: never to be read as what a person said. Its own columns are told by their exact names, so that a
# scientificName that somebody added beside our scientific_name is the person's.
_MODELS = frozenset(EXPORTED) - frozenset(REVIEW_COLUMNS) - frozenset(("uri", "frame"))
_OURS = frozenset(("review_verdict", "review_scientific_name"))  # also where other columns were taken out
_BOXES = frozenset(name for columns in BOX_COLUMNS for name in columns) | {"bbox"}
_USED = frozenset(
    (*VERDICT_COLUMNS, *SCIENTIFIC_COLUMNS, *LOOSE_COLUMNS, *REVIEWER_COLUMNS, *TIME_COLUMNS, *COMMENT_COLUMNS, *_BOXES,
     "event", "sequence", "frame", "framenumber")
)  # fmt: skip


def statements(address: str, zone: tzinfo, name_column: str | None = None) -> Iterator[Statement]:
    """One statement a row.

    Args:
        zone: of times without one.
        name_column: the column that holds the name, where it is none of those that are looked for.

    Raises:
        SourceError: if the table cannot be read or has no image column.
    """
    header = frozenset(header_of(address))
    columns, ours = frozenset(map(column_name, header)), header >= _OURS
    for row in rows_of(address):
        if isinstance(row, Unlisted):
            yield NotTaken(row.uri.rpartition("#")[2].replace("row=", "row "), "", "", row.reason)
        else:
            yield _statement(row, zone, name_column, columns, ours=ours)


def _statement(row: Row, zone: tzinfo, name_column: str | None, columns: frozenset[str], *, ours: bool) -> Statement:
    record, image = f"row {row.number}", str(row.image).strip()
    values = {name: value for name, value in row.values.items() if name != row.columns.image}
    own_boxes: dict[str, Any] = {}
    exported = row.columns.image == "uri" and (ours or values.get("status") in ITEM_STATUSES)
    if exported:
        own_boxes = {name: value for name, value in values.items() if name.startswith("region_")}
        values = {name: value for name, value in values.items() if name not in _MODELS}
    cells = cells_of({**values, **own_boxes})
    names, scientific = _names(cells, name_column)
    verdict = text_of(cells, VERDICT_COLUMNS)
    if not verdict and not names:
        return NotReviewed(record)
    try:
        return Written(
            record=record,
            image=image,
            frame=frame_of(cells),
            box=box_of(cells),
            elsewhere=(unguarded(image),) if exported and unguarded(image) != image else (),
            event="" if image else text_of(cells, EVENT_COLUMNS),
            verdict=verdict,
            names=names,
            scientific=scientific,
            reviewer=text_of(cells, REVIEWER_COLUMNS),
            reviewed_at=moment_of(cells, zone),
            comment=text_of(cells, COMMENT_COLUMNS),
            details=details_of(cells, values, _USED | {column_name(name_column or "")}),
            exported=columns if exported else frozenset(),
        )
    except BadCellError as error:
        return NotTaken(record, image, " ".join(str(value) for value in names.values()) or verdict, str(error))


def _names(cells: Mapping[str, Any], name_column: str | None) -> tuple[dict[str, Any], bool]:
    """The cells that name a taxon, as Darwin Core calls them, and whether they are scientific names."""
    if name_column is not None:
        own = str(cells.get(column_name(name_column), "")).strip()
        return ({"scientificName": own} if own else {}), False
    found = {name: cells[name] for name in SCIENTIFIC_COLUMNS if str(cells.get(name, "")).strip()}
    if "reviewscientificname" in found:
        found["scientificname"] = found.pop("reviewscientificname")
    loose = text_of(cells, LOOSE_COLUMNS)
    if found.keys() - {"taxonrank"}:
        if "genus" in found and loose and str(cells.get("species", "")).strip():
            found["species"] = cells["species"]
        # A word for "no animal" may stand where the name is expected.
        word = str(found.get("scientificname", ""))
        return found, verdict_of(word) is None
    return ({"scientificName": loose} if loose else {}), False
