"""Media items as rows of the occurrence and multimedia tables."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bioclip_plugin.items.media import BOX_UNIT, MediaItem
from bioclip_plugin.items.time_zones import in_zone

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export_options import ExportOptions

_COPIED = ("basisOfRecord", "institutionCode", "collectionCode", "catalogNumber")
_DECIMALS = 7  # of a degree: a centimetre
_FRACTIONS = ("xFrac", "yFrac", "widthFrac", "heightFrac")


def occurrence_terms(name: str, item: MediaItem, options: ExportOptions, *, is_known: bool) -> dict[str, str]:
    """What is said of a specimen so that its collection knows which one it is; no name of a taxon, which would look accepted.

    Args:
        name: its id.
        item: the image of it that was listed first.
        options: for places and times.
        is_known: whether the collection gave the id; else it is something that a camera saw.
    """
    stated = {term: text(item.metadata.get(term)) for term in _COPIED}
    if not is_known:
        stated["basisOfRecord"] = stated["basisOfRecord"] or "MachineObservation"
    place = item.place
    terms = {"occurrenceID": name, **stated, "eventDate": _event_date(item, options.time_zone)}
    terms["countryCode"] = (place.country or "") if len(place.country or "") == 2 else ""
    terms["stateProvince"] = place.region or ""
    if place.latitude is not None and place.longitude is not None:
        decimals = options.coordinate_precision
        terms["decimalLatitude"], terms["decimalLongitude"] = (
            _degrees(v, decimals) for v in (place.latitude, place.longitude)
        )
        terms["geodeticDatum"] = text(item.metadata.get("geodeticDatum")) or ("" if is_known else "EPSG:4326")
        if decimals is not None:
            terms["coordinatePrecision"] = _degrees(10.0**-decimals, _DECIMALS)
    return {term: value for term, value in terms.items() if value}


def media_terms(name: str, item: MediaItem, box: tuple[int, ...] | None, whole: str) -> dict[str, str]:
    """An image or, with a box, a region of the image ``whole``. A local file's ``accessURI`` is filled in when it is written."""
    if box is not None:
        terms = {"identifier": name, "type": "StillImage", "isROIOf": whole}
        return terms | {term: _number(value / BOX_UNIT, 4) for term, value in zip(_FRACTIONS, box, strict=True)}
    stated = item.metadata.get("media")
    media: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
    addresses = [text(media.get(term)) for term in ("accessURI", "identifier")]
    own = next((one for one in addresses[1:] if one and "://" not in one), "")
    terms = {
        "identifier": name,
        "providerManagedID": text(media.get("providerManagedID")) or own,
        "type": "StillImage",
        "format": text(media.get("format")) or mimetypes.guess_type(item.uri)[0] or "",
        "accessURI": next((one for one in addresses if one.startswith(("http://", "https://"))), ""),
        "CreateDate": item.captured_at.isoformat(timespec="seconds") if item.captured_at else "",
        "description": f"image {item.frame} of the file, counted from 0" if item.frame else "",
    }
    return {term: value for term, value in terms.items() if value}


def text(value: Any) -> str:
    """A value of the metadata as one line of text."""
    return "" if value is None else " ".join(str(value).split())


def _event_date(item: MediaItem, zone: str | None) -> str:
    if stated := text(item.metadata.get("eventDate")):
        return stated
    return in_zone(item.captured_at, zone).isoformat(timespec="seconds") if item.captured_at else ""


def _degrees(value: float, decimals: int | None) -> str:
    return f"{value:.{decimals}f}" if decimals is not None and decimals != _DECIMALS else _number(value, _DECIMALS)


def _number(value: float, decimals: int) -> str:
    """A number without an exponent and without needless zeros."""
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".") or "0"
