"""Reviews in AddaxAI's tables: the labels of files and boxes that a person has verified."""

from __future__ import annotations

from collections.abc import Iterator

from bioclip_core.cells import is_unknown
from bioclip_core.tables.reading import open_table
from bioclip_plugin.formats.addaxai.layout import table_at
from bioclip_plugin.formats.shared.review_rows import (
    ImportOptions,
    NotReviewed,
    NotTaken,
    Statement,
    Written,
    cells_of,
    completed,
    text_of,
    verdict_of,
)
from bioclip_plugin.formats.shared.review_times import ReviewTimes
from bioclip_plugin.items.media import path_of, uri_of

NAME_COLUMNS = ("scientificname", "classificationlabel", "label", "observationtype")
"""Columns of the name, in the order in which they are tried."""
_VERIFIED = ("humanverified", "isverified")
_YES = frozenset(("true", "1", "yes"))
# Values that the camera and AddaxAI have written are not details of a review.
_DETAILS = frozenset(("count", "sex", "lifestage"))


def statements(address: str, times: ReviewTimes, options: ImportOptions | None = None) -> Iterator[Statement]:
    """Yield one statement per row: a review for a row that a person has verified.

    Args:
        address: the table.
        times: reads the times of the reviews.
        options: options of reading it; a column that they name for the names comes first.

    Raises:
        SourceError: if the table cannot be read.
    """
    options = options or ImportOptions()
    for row in open_table(
        path_of(address), options, options.findings, name=uri_of(address), needed=table_at(address)[1]
    ):
        record = f"row {row.number}"
        if row.fault:
            yield NotTaken(record, "", "", f"line {row.line} cannot be read: {row.fault}")
            continue
        cells = {key: cell for key, cell in cells_of(row.cells).items() if not is_unknown(cell)}
        name, image = text_of(cells, NAME_COLUMNS), text_of(cells, ("relativepath",)).replace("\\", "/")
        if text_of(cells, _VERIFIED).lower() not in _YES or not name:
            yield NotReviewed(record)
            continue
        absolute = text_of(cells, ("absolutepath",)).replace("\\", "/")
        whole = absolute if absolute.endswith(image.rpartition("/")[2]) else f"{absolute.rstrip('/')}/{image}"
        draft = Written(
            record=record,
            image=image,
            elsewhere=(whole,) if absolute else (),
            names={"scientificName": name},
            scientific="scientificname" in cells and not options.has_chosen_names and verdict_of(name) is None,
        )
        values = {heading: cell for heading, cell in row.cells.items() if not is_unknown(cell)}
        yield completed(draft, cells, values, times, frozenset(cells) - _DETAILS)
