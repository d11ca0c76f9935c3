"""Items and regions as lines of JSON, for files that other machines read: no pickle, so that a work folder cannot run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bioclip_core.errors import DataError
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store.records import FoundBox

_OF_PLACE = ("country", "region", "latitude", "longitude", "month")
NOT_CARRIED = ("data", "image", "membership")
"""Fields of an item that no line has: an item in memory is answered where it is, and deployments are found later."""


def item_line(item: MediaItem, **more: Any) -> str:
    """Return an item as one line of ASCII, equal for equal items; fields with their default value are left out.

    Args:
        item: the item, with a file.
        more: further members of the line; None and False are left out.
    """
    values: dict[str, Any] = {
        "uri": item.uri,
        "path": None if item.path is None else str(item.path),
        "frame": item.frame or None,
        "captured_at": item.captured_at.isoformat() if item.captured_at else None,
        "place": [getattr(item.place, name) for name in _OF_PLACE] if item.place != Place() else None,
        "deployment": item.deployment,
        "sequence": item.sequence,
        "regions": [region_value(region) for region in item.regions] or None,
        "metadata": dict(item.metadata) or None,
        "span": item.span,
        "detected": item.detected or None,
        "is_part": item.is_part or None,
        "unread": sorted(item.unread) or None,
        "within": [day.isoformat() for day in item.within] if item.within else None,
        "absent": sorted(item.absent) or None,
        **{name: value or None for name, value in more.items()},
    }
    return json.dumps({name: value for name, value in values.items() if value is not None}, separators=(",", ":"))


def parsed_line(line: str) -> dict[str, Any]:
    """Return the members of a line.

    Raises:
        DataError: if it is not one.
    """
    try:
        values = json.loads(line)
    except ValueError as error:
        raise DataError(f"not a line of an item: {error}") from None
    if not isinstance(values, dict) or not isinstance(values.get("uri"), str):
        raise DataError("not a line of an item: an object with a uri is needed")
    return values


def item_from(values: Mapping[str, Any]) -> MediaItem:
    """Return the item of a parsed line.

    Raises:
        DataError: if a member has another type than it must have.
    """
    try:
        path, captured, within, span = (values.get(name) for name in ("path", "captured_at", "within", "span"))
        return MediaItem(
            uri=values["uri"],
            path=None if path is None else Path(path),
            frame=values.get("frame", 0),
            captured_at=datetime.fromisoformat(captured) if captured else None,
            place=Place(*values["place"]) if values.get("place") else Place(),
            deployment=values.get("deployment"),
            sequence=values.get("sequence"),
            regions=tuple(map(region_from, values.get("regions", ()))),
            metadata=MappingProxyType(values.get("metadata", {})),
            span=(span[0], span[1]) if span else None,
            detected=values.get("detected", False),
            is_part=values.get("is_part", False),
            unread=frozenset(values.get("unread", ())),
            within=(date.fromisoformat(within[0]), date.fromisoformat(within[1])) if within else None,
            absent=frozenset(values.get("absent", ())),
        )
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(f"the line of {values.get('uri')!r} cannot be read: {error}") from None


def region_value(region: Region) -> dict[str, Any]:
    """Return a region as plain JSON."""
    return asdict(region)


def region_from_text(text: str) -> Region:
    """Return a region of its JSON text."""
    return region_from(json.loads(text))


def boxes_from_text(text: str) -> tuple[FoundBox, ...]:
    """Return boxes of a detector of their JSON text."""
    return tuple((x, y, w, h, category, confidence) for x, y, w, h, category, confidence in json.loads(text))


def region_from(values: Mapping[str, Any]) -> Region:
    """Return a region of plain JSON."""
    return Region(**values)
