"""Reviews in a table with an image column: our own columns, Darwin Core's, or an export of ours that was filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any

from bioclip_core.cells import column_name
from bioclip_plugin.formats.shared.review_rows import (
    BOX_COLUMNS,
    NotReviewed,
    Statement,
    Written,
    cells_of,
    completed,
    statements_of,
    text_of,
    unguarded,
    verdict_of,
)
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.shared.table_rows import Row
from bioclip_plugin.formats.tables.columns import COLUMNS, REVIEW_COLUMNS
from bioclip_plugin.store.records import ITEM_STATUSES

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
_MODELS = frozenset(COLUMNS) - frozenset(REVIEW_COLUMNS) - frozenset(("uri", "frame"))
_OURS = frozenset(("review_verdict", "review_scientific_name"))  # tell an export, even with other columns taken out
_USED = frozenset(
    (*VERDICT_COLUMNS, *SCIENTIFIC_COLUMNS, *LOOSE_COLUMNS, *BOX_COLUMNS[0], *BOX_COLUMNS[1], "bbox", "event", "sequence",
     "frame", "framenumber")
)  # fmt: skip


def statements(address: str, zone: tzinfo, name_column: str | None = None) -> Iterator[Statement]:
    """Yield one statement per row.

    Args:
        zone: of times without an offset.
        name_column: the column of the names, if it is not one of those that are looked for.

    Raises:
        SourceError: if the table cannot be read or lacks an image column.
    """
    header = frozenset(header_of(address))
    columns, ours = frozenset(map(column_name, header)), header >= _OURS

    def read(row: Row, record: str) -> Iterator[Statement]:
        values = {name: value for name, value in row.values.items() if name != row.columns.image}
        own_boxes: dict[str, Any] = {}
        exported = row.columns.image == "uri" and (ours or values.get("status") in ITEM_STATUSES)
        if exported:
            own_boxes = {name: value for name, value in values.items() if name.startswith("region_")}
            values = {name: value for name, value in values.items() if name not in _MODELS}
        cells, image = cells_of({**values, **own_boxes}), str(row.image).strip()
        names, scientific = _names(cells, name_column)
        draft = Written(
            record=record,
            image=image,
            elsewhere=(unguarded(image),) if exported and unguarded(image) != image else (),
            event="" if image else text_of(cells, EVENT_COLUMNS),
            verdict=text_of(cells, VERDICT_COLUMNS),
            names=names,
            scientific=scientific,
            exported=columns if exported else frozenset(),
        )
        used = _USED | {column_name(name_column or "")}
        if draft.verdict or names:
            yield completed(draft, cells, values, zone, used, has_boxes=True)
        else:
            yield NotReviewed(record)

    return statements_of(rows_of(address), read)


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
