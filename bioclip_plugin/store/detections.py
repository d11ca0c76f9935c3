"""Boxes that a detector of the pipeline found, by the content of the image and the detector's identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from bioclip_plugin.items.request import DETECTION
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import insert_new, rows_with
from bioclip_plugin.store.database.values import from_json, to_json
from bioclip_plugin.store.reading import names_of_contents
from bioclip_plugin.store.records import Content, FoundBox, ItemRecord, Run

BY_DETECTOR = "by the run's detector"
"""The stated regions of an image without boxes of its own, in a run with a detector."""
NOTHING_BY_DETECTOR = "nothing found by the run's detector"
"""The same, once the detector found nothing in it."""


def detection_of(rule_settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return ``detector_id``, settings of the detector and threshold of a run with a detector; None for other runs."""
    found: Mapping[str, Any] | None = rule_settings.get(DETECTION)
    return found


def is_stated(stored: str | None, stated: str | None) -> bool:
    """True if an entry of a listing was made for the same stated regions."""
    return (BY_DETECTOR if stored == NOTHING_BY_DETECTOR else stored) == stated


def found_boxes(connection: Connection, run: Run, keys: Sequence[Content]) -> dict[Content, tuple[FoundBox, ...]]:
    """Return the stored boxes of these contents by the run's detector; contents that it has not seen are absent."""
    detection = detection_of(run.rule_settings)
    wanted = set(keys)
    if detection is None or not wanted:
        return {}
    number = detector_numbers(connection).get(detection["detector_id"])
    names = names_of_contents(connection, (sha256 for sha256, _ in wanted))
    table = schema.detections.c
    query = select(table.content, table.boxes).where(table.detector_set == number)
    return {
        names[row.content]: tuple([(*box[:4], str(box[4]), box[5]) for box in from_json(row.boxes)])
        for row in rows_with(connection, query, table.content, names)
        if names[row.content] in wanted
    }


def write_boxes(connection: Connection, run: Run, records: Iterable[ItemRecord], contents: Mapping[int, int]) -> None:
    """Write the boxes of a batch, by the numbers of the contents by media."""
    write_found(
        connection,
        run,
        {
            contents[record.listed.media_id]: record.found
            for record in records
            if record.found is not None and record.failure is None and record.listed.media_id in contents
        },
    )


def write_found(connection: Connection, run: Run, found: Mapping[int, Sequence[FoundBox]]) -> None:
    """Write the boxes of contents, by their numbers."""
    detection = detection_of(run.rule_settings)
    rows = {content: to_json([list(box) for box in boxes]) for content, boxes in found.items()}
    if detection is None or not rows:
        return
    number = _detector_set(connection, detection)
    names = ("detector_set", "content", "boxes")
    insert_new(connection, schema.detections, names, [(number, *boxes) for boxes in sorted(rows.items())])


def _detector_set(connection: Connection, detection: Mapping[str, Any]) -> int:
    table = schema.detector_sets
    query = select(table.c.id).where(table.c.detector_id == detection["detector_id"])
    number = connection.execute(query).scalar()
    if number is None:
        row = (detection["detector_id"], to_json(detection["detector"]))
        insert_new(connection, table, ("detector_id", "settings"), [row])
        number = connection.execute(query).scalar_one()
    return int(number)


def detector_numbers(connection: Connection) -> dict[str, int]:
    """Return the numbers of the detectors by their identities."""
    table = schema.detector_sets.c
    return {row.detector_id: int(row.id) for row in connection.execute(select(table.detector_id, table.id))}
