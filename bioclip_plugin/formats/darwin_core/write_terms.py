"""Terms of an occurrence and of its images; a cell that a term cannot hold is kept verbatim and reported."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bioclip_core.cells import dated_of, two_letters
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.darwin_core.check_cells import basis_of, is_event_date
from bioclip_plugin.formats.darwin_core.terms import FRACTIONS, stated_in, text_of
from bioclip_plugin.items.media import BOX_UNIT, MediaItem
from bioclip_plugin.items.time_zones import in_zone

_COPIED = ("institutionCode", "collectionCode", "catalogNumber")
_VERBATIM_PLACES = ("verbatimLatitude", "verbatimLongitude", "verbatimCoordinates")
_GROUPS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("eventDate",), ("verbatimEventDate",)),
    (("decimalLatitude", "decimalLongitude"), ("geodeticDatum", "coordinatePrecision", *_VERBATIM_PLACES)),
    (("countryCode",), ("country",)),
    (("basisOfRecord",), ()),
    *(((term,), ()) for term in (*_COPIED, "stateProvince")),
)
"""Terms that are of one image if several images show a specimen, the first one that states them, each with those that depend
on them."""
_NO_WORD = "Occurrence"
"""The word of ``basisOfRecord`` that is true of everything."""
_ZEROS = re.compile(r"(?<=\d{4}-\d\d)-00$|(?<=\d{4})-00-00$")
"""Months and days that databases fill with zeros if they are not known."""
_DECIMALS = 7  # of a degree: a centimetre


@dataclass(frozen=True, slots=True)
class Stated:
    """The terms of an occurrence, and the image that states them."""

    terms: dict[str, str]
    uri: str
    has_own_date: bool = True
    """False if ``eventDate`` is the time of an image."""

    def packed(self) -> str:
        return json.dumps([self.terms, self.uri, self.has_own_date], ensure_ascii=False)

    @classmethod
    def unpacked(cls, text: str) -> Stated:
        return cls(*json.loads(text))


def merged(first: Stated, other: Stated, findings: Findings) -> Stated:
    """Return the terms of a specimen that two images show; values that differ are reported, and the first one is used."""
    terms = dict(first.terms)
    for keys, dependent in _GROUPS:
        is_date = keys == ("eventDate",)
        if is_date and not other.has_own_date:
            continue
        before, now = (", ".join(filter(None, (one.terms.get(term) for term in keys))) for one in (first, other))
        is_open = before == _NO_WORD or (is_date and not first.has_own_date)
        if now and (not before or is_open):
            terms |= {term: other.terms.get(term, "") for term in (*keys, *dependent)}
        elif now and now not in (before, _NO_WORD):
            findings.add(
                f"values of {keys[0]} differ from those of an earlier image of the same specimen, which are written",
                f"{first.terms['occurrenceID']}: {before!r} in {first.uri}, {now!r} in {other.uri}",
            )
    terms = {term: value for term, value in terms.items() if value}
    return Stated(terms, first.uri, first.has_own_date or other.has_own_date)


def occurrence_terms(name: str, item: MediaItem, export: Export, *, is_known: bool) -> Stated:
    """Return the terms by which the collection knows its specimen again; without a taxon's name, which would look accepted.

    Args:
        name: its id.
        item: one of its images.
        export: for options and findings.
        is_known: True for an id of the collection, False for an observation by a camera.
    """
    dates = _date_terms(item, export)
    terms = {
        "occurrenceID": name,
        **{term: text_of(stated_in(item.metadata, term)) for term in _COPIED},
        **_basis_terms(item, export.findings, is_known=is_known),
        **(dates or {"eventDate": _moment(item, export)}),
        **_country_terms(item, export.findings),
        "stateProvince": item.place.region or "",
        **_position_terms(item, export, is_known=is_known),
    }
    return Stated({term: value for term, value in terms.items() if value}, item.uri, bool(dates))


def _moment(item: MediaItem, export: Export) -> str:
    if item.captured_at is None:
        return ""
    return in_zone(item.captured_at, export.options.time_zone).isoformat(timespec="seconds")


def _date_terms(item: MediaItem, export: Export) -> dict[str, str]:
    """Return the stated date as Darwin Core has it, as far as it is certain; empty if the source states none."""
    given, verbatim = (text_of(stated_in(item.metadata, term)) for term in ("eventDate", "verbatimEventDate"))
    if not given:
        return {"verbatimEventDate": verbatim} if verbatim and item.captured_at is None else {}
    if is_event_date(given):
        return {"eventDate": given, "verbatimEventDate": verbatim}
    dated = dated_of(_ZEROS.sub("", given))
    if dated is not None and dated.is_open:  # the listing read it in the order of its column
        day_first, month_first = dated_of(given, "day"), dated_of(given, "month")
        unknown = day_first if dated.has_dots and item.place.month is None else dated
        dated = next((one for one in (day_first, month_first) if one and one.month == item.place.month), unknown)
    date = dated.iso if dated is not None else ""
    if not is_event_date(date):
        date = ""
        export.findings.add("values of eventDate are not dates; they are in verbatimEventDate", _example(item, given))
    return {"eventDate": date, "verbatimEventDate": " | ".join(dict.fromkeys(filter(None, (verbatim, given))))}


def _basis_terms(item: MediaItem, findings: Findings, *, is_known: bool) -> dict[str, str]:
    given = text_of(stated_in(item.metadata, "basisOfRecord"))
    if not given:
        return {} if is_known else {"basisOfRecord": "MachineObservation"}
    if basis := basis_of(given):
        return {"basisOfRecord": basis}
    findings.add(
        f"values of basisOfRecord are not words of Darwin Core; they are in occurrenceRemarks, and {_NO_WORD} is written unless "
        "another image of the specimen states a word",
        _example(item, given),
    )
    return {"basisOfRecord": _NO_WORD, "occurrenceRemarks": f"basisOfRecord: {given}"}


def _country_terms(item: MediaItem, findings: Findings) -> dict[str, str]:
    """Return the country's code, and its name as it is stated; a name in the place of the code is kept as the name."""
    code = two_letters(item.place.country or "") or ""
    name, wrong = (text_of(stated_in(item.metadata, term)) for term in ("country", "countryCode"))
    unread = wrong or (item.place.country or "" if not code else "")
    if unread and not code:
        findings.add("values of countryCode are not codes of countries; they are in country", _example(item, unread))
    return {"countryCode": code, "country": name or unread}


def _position_terms(item: MediaItem, export: Export, *, is_known: bool) -> dict[str, str]:
    latitude, longitude, decimals = item.place.latitude, item.place.longitude, export.options.coordinate_precision
    terms: dict[str, str] = {}
    if latitude is not None and longitude is not None:
        terms = {
            "decimalLatitude": _degrees(latitude, decimals),
            "decimalLongitude": _degrees(longitude, decimals),
            "geodeticDatum": text_of(stated_in(item.metadata, "geodeticDatum")) or ("" if is_known else "EPSG:4326"),
            "coordinatePrecision": "" if decimals is None else _degrees(10.0**-decimals, _DECIMALS),
        }
    verbatim = {term: text_of(stated_in(item.metadata, term)) for term in _VERBATIM_PLACES}
    if not terms:
        unread = [
            next(filter(None, (text_of(stated_in(item.metadata, name)) for name in names)), "")
            for names in (("decimalLatitude", "latitude"), ("decimalLongitude", "longitude"))
        ]
        if any(unread):
            export.findings.add(
                "coordinates are not usable; they are in verbatimLatitude and verbatimLongitude",
                _example(item, ", ".join(unread)),
            )
        for term, value in zip(_VERBATIM_PLACES, unread, strict=False):
            verbatim[term] = verbatim[term] or value
    if decimals is not None and any(verbatim.values()):
        export.findings.add(
            "verbatim coordinates are not written, since --coordinate-precision rounds places", _example(item, "")
        )
        return terms
    return terms | verbatim


def _example(item: MediaItem, value: str) -> str:
    return f"{item.uri}: {value!r}" if value else item.uri


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
