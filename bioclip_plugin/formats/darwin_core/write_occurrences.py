"""Rows of the occurrence and multimedia tables, made from media items."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping

from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.darwin_core.terms import FRACTIONS, text_of
from bioclip_plugin.items.media import BOX_UNIT, MediaItem
from bioclip_plugin.items.time_zones import in_zone

_COPIED = ("basisOfRecord", "institutionCode", "collectionCode", "catalogNumber")
_DECIMALS = 7  # of a degree: a centimetre


def occurrence_terms(name: str, item: MediaItem, options: ExportOptions, *, is_known: bool) -> dict[str, str]:
    """Return the terms by which the collection knows its specimen again; without a taxon's name, which would look accepted.

    Args:
        name: its id.
        item: its first image in the listing.
        options: for places and times.
        is_known: True for an id of the collection, False for an observation by a camera.
    """
    stated = {term: text_of(item.metadata.get(term)) for term in _COPIED}
    if not is_known:
        stated["basisOfRecord"] = stated["basisOfRecord"] or "MachineObservation"
    moment = in_zone(item.captured_at, options.time_zone).isoformat(timespec="seconds") if item.captured_at else ""
    country, latitude, longitude = item.place.country or "", item.place.latitude, item.place.longitude
    terms = {
        "occurrenceID": name,
        **stated,
        "eventDate": text_of(item.metadata.get("eventDate")) or moment,
        "countryCode": country if len(country) == 2 else "",
        "stateProvince": item.place.region or "",
    }
    if latitude is not None and longitude is not None:
        decimals = options.coordinate_precision
        terms["decimalLatitude"] = _degrees(latitude, decimals)
        terms["decimalLongitude"] = _degrees(longitude, decimals)
        terms["geodeticDatum"] = text_of(item.metadata.get("geodeticDatum")) or ("" if is_known else "EPSG:4326")
        terms["coordinatePrecision"] = "" if decimals is None else _degrees(10.0**-decimals, _DECIMALS)
    return {term: value for term, value in terms.items() if value}


def media_terms(name: str, item: MediaItem, box: tuple[int, ...] | None, whole: str) -> dict[str, str]:
    """Return the terms of an image or, with a box, of a region of the image ``whole``.

    The ``accessURI`` of a local file is added when its row is written.
    """
    if box is not None:
        terms = {"identifier": name, "type": "StillImage", "isROIOf": whole}
        return terms | {term: _number(value / BOX_UNIT, 4) for term, value in zip(FRACTIONS, box, strict=True)}
    stated = item.metadata.get("media")
    media = stated if isinstance(stated, Mapping) else {}
    address, identifier = (text_of(media.get(term)) for term in ("accessURI", "identifier"))
    terms = {
        "identifier": name,
        "providerManagedID": text_of(media.get("providerManagedID")) or ("" if "://" in identifier else identifier),
        "type": "StillImage",
        "format": text_of(media.get("format")) or mimetypes.guess_type(item.uri)[0] or "",
        "accessURI": next((one for one in (address, identifier) if one.startswith(("http://", "https://"))), ""),
        "CreateDate": item.captured_at.isoformat(timespec="seconds") if item.captured_at else "",
        "description": f"image {item.frame} of the file, counted from 0" if item.frame else "",
    }
    return {term: value for term, value in terms.items() if value}


def _degrees(value: float, decimals: int | None) -> str:
    return f"{value:.{decimals}f}" if decimals is not None and decimals != _DECIMALS else _number(value, _DECIMALS)


def _number(value: float, decimals: int) -> str:
    """Return a number without an exponent and without trailing zeros."""
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".") or "0"
