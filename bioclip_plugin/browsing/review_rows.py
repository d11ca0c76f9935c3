"""Reviews of a store as rows of one table, and the rows of a run that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, case, func, select

from bioclip_core.images.boxes import ABOUT, overlap
from bioclip_plugin.items.media import BOX_UNIT, WHOLE_BOX
from bioclip_plugin.reviews.in_force import newest_of_each
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import rows_with
from bioclip_plugin.store.database.values import from_json, now
from bioclip_plugin.store.undone import UNDOES, Statement, not_in_force, undone_uid

_ROWS_AT_ONCE = 10_000
Box = tuple[float, float, float, float]
_WHOLE: Box = tuple(side / BOX_UNIT for side in WHOLE_BOX)  # type: ignore[assignment]


class ReviewRow(NamedTuple):
    """A stored review."""

    id: int
    uid: str
    kind: str
    media: int | None
    region: int | None
    event: str | None
    verdict: str
    taxon: int | None
    reviewer: str
    reviewed_at: str
    """As stored: UTC, ISO 8601, so that texts compare like moments."""
    undoes: str
    """The ``uid`` that it takes back; empty for none."""

    @property
    def seconds(self) -> float:
        """``reviewed_at`` in seconds since 1970."""
        return datetime.fromisoformat(self.reviewed_at).timestamp()


class ReviewTable:
    """All reviews of a store. They are never changed, so that only new ones are read again."""

    def __init__(self) -> None:
        self.rows: list[ReviewRow] = []

    def refresh(self, connection: Connection) -> bool:
        """Read the reviews that came since the last time, and return True if there are others than before.

        A review whose number is below that of the last one may have been committed after it, and a program of the user's own
        may have deleted some: then the count tells, and all are read again.
        """
        table = schema.reviews.c
        count, last = connection.execute(select(func.count(), func.max(table.id))).one()
        known, newest = len(self.rows), self.rows[-1].id if self.rows else 0
        if (count, last or 0) == (known, newest):
            return False
        new = _read(connection, newest)
        self.rows = [*self.rows, *new] if known + len(new) == count else _read(connection, 0)
        return True

    def in_force(self) -> list[ReviewRow]:
        """Return the newest review of each region, image and event, without undone ones."""
        silent: set[int] = set()
        if any(row.undoes for row in self.rows):
            silent = not_in_force(
                Statement(row.id, row.uid, (row.kind == "event", row.media, row.event), row.undoes) for row in self.rows
            )
        said = (row for row in self.rows if row.id not in silent)
        newest = newest_of_each(said, lambda row: (row.kind, row.media, row.region, row.event), now())
        return sorted(newest.values(), key=lambda row: row.id)


def _read(connection: Connection, after: int) -> list[ReviewRow]:
    table = schema.reviews.c
    details = case((table.details.like(f'%"{UNDOES}"%'), table.details))
    query = select(
        table.id, table.uid, table.kind, table.media, table.region, table.event, table.verdict, table.taxon, table.reviewer,
        table.reviewed_at, details,
    ).where(table.id > after).order_by(table.id)  # fmt: skip
    found: list[ReviewRow] = []
    for rows in connection.execute(query).partitions(_ROWS_AT_ONCE):
        found.extend(ReviewRow(*row[:10], undone_uid(from_json(row[10])) if row[10] else "") for row in rows)
    return found


def places_of(
    connection: Connection, reviews: Sequence[ReviewRow], media: NDArray[np.int64], region: NDArray[np.int64],
    event: NDArray[np.int32], events: Sequence[str],
) -> NDArray[np.int32]:  # fmt: skip
    """Return the place in ``reviews`` of the review that counts for each row (N); -1 for none.

    A review of the region comes before one of its image, and that before one of its event.

    Args:
        connection: to the store, for boxes that a reviewer drew: they are about the region that they overlap most.
        reviews: in force, at most one per subject.
        media: numbers of the rows' images.
        region: numbers of their regions.
        event: numbers of their events in ``events``.
        events: names of events.
    """
    found = np.full(len(media), -1, np.int32)
    if not reviews:
        return found
    reviewed = {one.event for one in reviews if one.kind == "event"}
    numbers = {name: number for number, name in enumerate(events) if name in reviewed} if reviewed else {}
    of_event = np.full(len(events) + 1, -1, np.int32)
    of_media: dict[int, int] = {}
    of_region: dict[int, int] = {}
    for place, one in enumerate(reviews):
        if one.kind == "event":
            of_event[numbers.get(one.event or "", -1)] = place
        elif one.kind == "media" and one.media is not None:
            of_media[one.media] = place
        elif one.region is not None:
            of_region[one.region] = place
    of_event[-1] = -1  # of rows without an event, and of events that the run does not have
    found = of_event[event]
    rows = np.flatnonzero(_among(media, of_media))
    found[rows] = [of_media[number] for number in media[rows].tolist()]
    rows = np.flatnonzero(_among(region, of_region))
    found[rows] = [of_region[number] for number in region[rows].tolist()]
    there = set(region[rows].tolist())
    drawn = {number: reviews[place] for number, place in of_region.items() if number not in there}
    for row, number in _overlapping(connection, drawn, media, region).items():
        if found[row] < 0 or reviews[found[row]].kind != "region":
            found[row] = of_region[number]
    return found


def _among(numbers: NDArray[np.int64], wanted: dict[int, Any]) -> NDArray[np.bool_]:
    return np.isin(numbers, np.fromiter(wanted, np.int64, len(wanted)))


def _overlapping(
    connection: Connection, drawn: dict[int, ReviewRow], media: NDArray[np.int64], region: NDArray[np.int64]
) -> dict[int, int]:
    """Return the rows that boxes of reviewers are about, each with the region of the newest one."""
    images = {one.media: None for one in drawn.values() if one.media is not None}
    rows = np.flatnonzero(_among(media, images)) if images else np.zeros(0, np.int64)
    if not len(rows):
        return {}
    of_image: dict[int, list[int]] = {}
    for row in rows.tolist():
        of_image.setdefault(int(media[row]), []).append(row)
    boxes = _boxes(connection, {*drawn, *region[rows].tolist()})
    found: dict[int, int] = {}
    for number, one in drawn.items():  # the newest one last
        candidates = of_image.get(one.media or 0, [])
        alone = len(candidates) == 1 and boxes.get(int(region[candidates[0]]), _WHOLE) == _WHOLE
        shared = {row: overlap(boxes[number], boxes.get(int(region[row]), _WHOLE)) for row in candidates}
        best = max(shared, key=lambda row: shared[row], default=None)
        # A run that answered for the whole image answered for its one animal, wherever that is.
        if best is not None and (alone or shared[best] >= ABOUT):
            found[best] = number
    return found


def _boxes(connection: Connection, numbers: set[int]) -> dict[int, Box]:
    table = schema.regions.c
    rows = rows_with(connection, select(table.id, table.x, table.y, table.w, table.h), table.id, numbers - {0})
    return {number: (x / BOX_UNIT, y / BOX_UNIT, w / BOX_UNIT, h / BOX_UNIT) for number, x, y, w, h in rows}
