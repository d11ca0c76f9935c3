"""Tiles: all that a grid of images shows of some rows, with the names of their images from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import Connection, select

from bioclip_plugin.browsing.columns import DAY_S, LEVELS, VERDICTS, Columns, ReviewMark
from bioclip_plugin.browsing.keys import ItemKey
from bioclip_plugin.browsing.pages import ColumnView
from bioclip_plugin.browsing.tree import TaxonNode
from bioclip_plugin.items.media import BOX_UNIT
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import rows_with

_DAYS = (-700_000, 2_900_000)  # of the years that Python knows


@dataclass(frozen=True, slots=True)
class Entry:
    """One tile."""

    key: ItemKey
    uri: str
    """For display only; empty if the image is not in the store any more."""
    frame: int
    name: str
    """The last part of the uri."""
    taxon: TaxonNode | None
    """As decided."""
    rank: str
    probability: float | None
    margin: float | None
    verdict: str
    """One of ``VERDICTS``; empty for a failure and for a region without a decision yet."""
    flags: tuple[str, ...]
    review: ReviewMark | None
    reviewed_taxon: TaxonNode | None
    failure: str
    """Stage and reason; empty for an answered image."""
    captured_at: datetime | None
    """Wall-clock time, naive."""
    camera: str
    event: str
    box: tuple[float, float, float, float] | None
    """x, y, width, height as fractions of the upright image; None for the whole image."""


def entries_of(connection: Connection, view: ColumnView, rows: Sequence[int]) -> list[Entry]:
    """Return the tiles of rows, in their order."""
    columns, media, regions = view.columns, schema.media.c, schema.regions.c
    keys = [view.key_of(row) for row in rows]
    names = rows_with(connection, select(media.id, media.uri, media.frame), media.id, [key.media for key in keys])
    named = {number: (uri, frame) for number, uri, frame in names}
    of_region = select(regions.id, regions.x, regions.y, regions.w, regions.h)
    found = rows_with(connection, of_region, regions.id, {key.region for key in keys} - {0})
    boxes = {number: (x, y, w, h) for number, x, y, w, h in found}
    return [
        _entry(columns, row, key, named.get(key.media, ("", 0)), boxes.get(key.region))
        for row, key in zip(rows, keys, strict=True)
    ]


def _entry(
    columns: Columns, row: int, key: ItemKey, named: tuple[str, int], box: tuple[int, int, int, int] | None
) -> Entry:
    uri, frame = named
    review = columns.reviews[place] if (place := int(columns.review_N[row])) >= 0 else None
    is_whole = box is None or box == (0, 0, BOX_UNIT, BOX_UNIT)
    return Entry(
        key=key,
        uri=uri,
        frame=frame,
        name=uri[max(uri.rfind("/"), uri.rfind("\\")) + 1 :],
        taxon=_node(columns, int(columns.taxon_N[row])),
        rank=LEVELS[number] if (number := int(columns.rank_N[row])) >= 0 else "",
        probability=_number(columns.probability_N[row]),
        margin=_number(columns.margin_N[row]),
        verdict=VERDICTS[number] if (number := int(columns.verdict_N[row])) >= 0 else "",
        flags=tuple(name for bit, name in enumerate(columns.flags) if int(columns.flags_N[row]) >> bit & 1),
        review=review,
        reviewed_taxon=_node(columns, review.taxon) if review else None,
        failure=_word(columns.failures, int(columns.failure_N[row])),
        captured_at=captured_at_of(columns, row),
        camera=_word(columns.cameras, int(columns.camera_N[row])),
        event=_word(columns.events, int(columns.event_N[row])),
        box=None
        if is_whole or box is None
        else (box[0] / BOX_UNIT, box[1] / BOX_UNIT, box[2] / BOX_UNIT, box[3] / BOX_UNIT),
    )


def captured_at_of(columns: Columns, row: int) -> datetime | None:
    """Return the wall-clock time of a row; None without one, and for a year that Python does not know."""
    seconds = int(columns.moment_N[row])
    if not _DAYS[0] * DAY_S < seconds < _DAYS[1] * DAY_S:
        return None
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _node(columns: Columns, number: int) -> TaxonNode | None:
    return columns.taxa[number] if number >= 0 else None


def _word(words: Sequence[str], number: int) -> str:
    return words[number] if number >= 0 else ""


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
