"""Media items and regions as rows, and rows as media items and regions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row

from bioclip_plugin.items.media import BOX_UNIT, WHOLE_BOX, MediaItem, Place, Region
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import execute, find_or_insert, keys_parameter
from bioclip_plugin.store.database.values import (
    StoredJson,
    captured_at_of,
    clean_text,
    stored_uri,
    to_json,
    wall_time,
)
from bioclip_plugin.store.records import NOTHING, Box, MediaName

RegionKey = tuple[Box, str, str, str]
"""Box, detector, its version, category: two regions of an image with the same key are the same."""
RegionPlace = tuple[int, RegionKey]
"""Number of the image, and key of the region in it."""

CAPTURE = "captured_at utc_offset_minutes month country region latitude longitude deployment sequence metadata".split()
"""The columns that a source or the camera states."""
MEDIA = ("uri", "frame", *CAPTURE)
"""The columns that an item is made of."""
_REGION_KEY = ("media", "x", "y", "w", "h", "detector", "detector_version", "category")
_REGION = (*_REGION_KEY, "confidence")
_REGIONS = f"SELECT {', '.join(_REGION_KEY)}, id, confidence FROM {schema.regions.name} WHERE media {{keys}}"


def media_key(item: MediaItem) -> MediaName:
    """Return the stored name of an item: two listed items with the same name are the same."""
    return stored_uri(item.uri), item.frame


def capture_of(item: MediaItem) -> tuple[Any, ...]:
    """Return the values of the columns ``CAPTURE`` of an item; None for those that it does not state."""
    place = item.place
    return (
        *wall_time(item.captured_at),
        place.month,
        _cleaned(place.country),
        _cleaned(place.region),
        _number(place.latitude),
        _number(place.longitude),
        _cleaned(item.deployment),
        _cleaned(item.sequence),
        to_json(item.metadata) if item.metadata else None,
    )


def item_of_row(row: Row[Any]) -> MediaItem:
    """Return the media item of a row of the media table; its ``path`` is not stored."""
    return item_of_values([getattr(row, name) for name in MEDIA])


def item_of_values(values: Sequence[Any], regions: tuple[Region, ...] = (), *, detected: bool = False) -> MediaItem:
    """Return the media item of the values of the columns ``MEDIA``.

    Looking up each value by its name takes longer than all the rest.
    """
    uri, frame, captured, offset, month, country, region, latitude, longitude, deployment, sequence, metadata = values
    return MediaItem(
        uri=uri,
        frame=frame,
        captured_at=captured_at_of(captured, offset),
        place=Place(country, region, latitude, longitude, month),
        deployment=deployment,
        sequence=sequence,
        regions=regions,
        detected=detected,
        metadata=NOTHING if metadata is None else StoredJson(metadata),
    )


def merged(item: MediaItem, row: Row[Any]) -> MediaItem:
    """Return the item as listed, completed from the store; a value that the source states is never replaced."""
    stored = item_of_row(row)
    unread = set(item.unread)
    if stored.captured_at is not None and not item.admits(stored.captured_at):
        unread.add("captured_at")
    if unread:  # an earlier run may have stored the camera's value
        stored = _without(stored, unread)
    place, captured = item.place, item.captured_at or stored.captured_at
    month = place.month if place.month is not None else (captured.month if captured else stored.place.month)
    return replace(
        item,
        captured_at=captured,
        place=Place(
            place.country or stored.place.country,
            place.region or stored.place.region,
            stored.place.latitude if place.latitude is None else place.latitude,
            stored.place.longitude if place.longitude is None else place.longitude,
            month,
        ),
        deployment=item.deployment or stored.deployment,
        sequence=item.sequence or stored.sequence,
        metadata=_merged_metadata(stored.metadata, item),
    )


def _merged_metadata(stored: Mapping[str, Any], item: MediaItem) -> Mapping[str, Any]:
    """Return the item's metadata with those of earlier runs, except values that its source does not state any more."""
    if not stored:
        return item.metadata
    kept = {name: value for name, value in stored.items() if name not in item.absent} if item.absent else stored
    return MappingProxyType({**kept, **item.metadata})


def _without(stored: MediaItem, unread: Collection[str]) -> MediaItem:
    """Return a stored item without the fields that the source now states in a form that cannot be read."""
    place = stored.place
    if "captured_at" in unread:
        place = replace(place, month=None)
    if "position" in unread:
        place = replace(place, latitude=None, longitude=None)
    if "country" in unread:
        place = replace(place, country=None)
    return replace(stored, captured_at=None if "captured_at" in unread else stored.captured_at, place=place)


def region_key(region: Region | None) -> RegionKey:
    """Return the key of a region; None is the whole image."""
    if region is None:
        return WHOLE_BOX, "", "", ""
    return region.box, clean_text(region.detector), clean_text(region.detector_version), clean_text(region.category)


def region_of_row(row: Any) -> Region | None:
    """Return the region of a row of the regions table; None for the whole image without a detector."""
    if (row.x, row.y, row.w, row.h) == WHOLE_BOX and not row.detector and not row.category:
        return None
    x, y, w, h = (value / BOX_UNIT for value in (row.x, row.y, row.w, row.h))
    return Region(x, y, w, h, row.detector, row.detector_version, row.category, row.confidence)


def region_ids(
    connection: Connection, wanted: Mapping[RegionPlace, Region | None]
) -> tuple[dict[RegionPlace, int], set[RegionPlace]]:
    """Return the numbers of regions, and the places of those that were new; a changed confidence is stored."""
    if not wanted:
        return {}, set()
    confidences = {place: _number(region.confidence) if region else None for place, region in wanted.items()}

    def stored() -> dict[RegionPlace, tuple[int, float | None]]:
        media = keys_parameter(connection, sorted({media for media, _ in wanted}))
        return {
            (media, ((x, y, w, h), detector, version, category)): (number, confidence)
            for media, x, y, w, h, detector, version, category, number, confidence in execute(
                connection, _REGIONS, media
            )
        }

    found, new = find_or_insert(
        connection,
        schema.regions,
        _REGION,
        wanted,
        stored,
        lambda place: (place[0], *place[1][0], *place[1][1:], confidences[place]),
        lambda place, number: (number, confidences[place]),
    )
    for place, confidence in confidences.items():
        number, before = found[place]
        if confidence != before:
            execute(connection, f"UPDATE {schema.regions.name} SET confidence = ? WHERE id = ?", confidence, number)
    return {place: found[place][0] for place in wanted}, new


def _cleaned(text: str | None) -> str | None:
    return clean_text(text) if text else None


def _number(value: float | None) -> float | None:
    """Return a float of Python: drivers do not know NumPy's, and NaN stands for an unknown value."""
    return None if value is None or value != value else float(value)
