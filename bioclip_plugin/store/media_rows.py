"""Media items and regions as rows, and rows as media items and regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, select

from bioclip_plugin.items.media import BOX_UNIT, WHOLE_BOX, MediaItem, Place, Region
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked, insert_new
from bioclip_plugin.store.database.stored_json import StoredJson
from bioclip_plugin.store.database.values import captured_at_of, clean_text, stored_uri, to_json, wall_time
from bioclip_plugin.store.records import NOTHING, Box

MediaKey = tuple[str, int]
"""uri as it is stored, frame."""
RegionKey = tuple[Box, str, str, str]
"""Box, detector, its version, category: what makes two regions of an image the same."""

CAPTURE = "captured_at utc_offset_minutes month country region latitude longitude deployment sequence metadata".split()
"""The columns that a source or the camera states."""
MEDIA = ("uri", "frame", *CAPTURE)
"""The columns that an item is made of."""


def media_key(item: MediaItem) -> MediaKey:
    """What makes two listed items the same."""
    return stored_uri(item.uri), item.frame


def capture_of(item: MediaItem) -> dict[str, Any]:
    """The capture columns of an item; None for what it does not state."""
    captured_at, offset = wall_time(item.captured_at)
    place = item.place
    return {
        "captured_at": captured_at,
        "utc_offset_minutes": offset,
        "month": place.month,
        "country": _cleaned(place.country),
        "region": _cleaned(place.region),
        "latitude": _number(place.latitude),
        "longitude": _number(place.longitude),
        "deployment": _cleaned(item.deployment),
        "sequence": _cleaned(item.sequence),
        "metadata": to_json(item.metadata) if item.metadata else None,
    }


def item_of_row(row: Row[Any], regions: tuple[Region, ...] = ()) -> MediaItem:
    """The media item of a row of the media table; its ``path`` is not stored."""
    return item_of_values([getattr(row, name) for name in MEDIA], regions)


def item_of_values(values: Sequence[Any], regions: tuple[Region, ...] = (), *, detected: bool = False) -> MediaItem:
    """The same of the values of the columns ``MEDIA``: looking each up by its name takes longer than all the rest."""
    uri, frame, captured, offset, month, country, region, latitude, longitude, deployment, sequence, said = values
    return MediaItem(
        uri=uri,
        frame=frame,
        captured_at=captured_at_of(captured, offset),
        place=Place(country, region, latitude, longitude, month),
        deployment=deployment,
        sequence=sequence,
        regions=regions,
        detected=detected,
        metadata=NOTHING if said is None else StoredJson(said),
    )


def merged(item: MediaItem, row: Row[Any]) -> MediaItem:
    """The item as listed, with what only the store knows: what the source states always counts more."""
    stored = item_of_row(row)
    place = item.place
    captured = item.captured_at or stored.captured_at
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
        metadata=MappingProxyType({**stored.metadata, **item.metadata}) if stored.metadata else item.metadata,
    )


def region_key(region: Region | None) -> RegionKey:
    """The key of a region; None is the whole image."""
    if region is None:
        return WHOLE_BOX, "", "", ""
    return region.box, clean_text(region.detector), clean_text(region.detector_version), clean_text(region.category)


def region_of_row(row: Any) -> Region | None:
    """The region of a row of the regions table; None for the whole image of no detector."""
    if (row.x, row.y, row.w, row.h) == WHOLE_BOX and not row.detector and not row.category:
        return None
    x, y, w, h = (value / BOX_UNIT for value in (row.x, row.y, row.w, row.h))
    classified = getattr(row, "classified", None) != 0
    return Region(x, y, w, h, row.detector, row.detector_version, row.category, row.confidence, classified)


def region_ids(
    connection: Connection, wanted: Mapping[tuple[int, RegionKey], Region | None]
) -> dict[tuple[int, RegionKey], int]:
    """The numbers of regions by media number and key; new ones are inserted, a changed confidence is kept."""
    found = _stored_regions(connection, {media for media, _ in wanted})
    missing = [_region_row(media, key, region) for (media, key), region in wanted.items() if (media, key) not in found]
    if missing:
        insert_new(connection, schema.regions, missing)
        found = _stored_regions(connection, {media for media, _ in wanted})
    table = schema.regions
    for place, region in wanted.items():
        number, confidence = found[place]
        said = _number(region.confidence) if region else None
        if said != confidence:
            connection.execute(table.update().where(table.c.id == number).values(confidence=said))
    return {place: found[place][0] for place in wanted}


def _stored_regions(
    connection: Connection, media: Iterable[int]
) -> dict[tuple[int, RegionKey], tuple[int, float | None]]:
    table = schema.regions.c
    found: dict[tuple[int, RegionKey], tuple[int, float | None]] = {}
    for chunk in chunked(sorted(media)):
        for row in connection.execute(select(schema.regions).where(table.media.in_(chunk))):
            key = ((row.x, row.y, row.w, row.h), row.detector, row.detector_version, row.category)
            found[row.media, key] = (row.id, row.confidence)
    return found


def _region_row(media: int, key: RegionKey, region: Region | None) -> dict[str, Any]:
    (x, y, w, h), detector, version, category = key
    return {
        "media": media,
        "x": x,
        "y": y,
        "w": w,
        "h": h,
        "detector": detector,
        "detector_version": version,
        "category": category,
        "confidence": _number(region.confidence) if region else None,
    }


def _cleaned(text: str | None) -> str | None:
    return clean_text(text) if text else None


def _number(value: float | None) -> float | None:
    """As a float of Python that equals itself: NumPy's are not known to every driver, and NaN means "not known"."""
    return None if value is None or value != value else float(value)
