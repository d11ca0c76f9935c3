"""Darwin Core's terms as the fields of a media item: time, place, region of the image, and the catalogued name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from bioclip_core.cells import column_name, country_of, number_of, position_of
from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import Place, Region
from bioclip_plugin.items.time_zones import moment_in

IDENTIFICATION = "http://rs.tdwg.org/dwc/terms/Identification"
MACHINE_REMARK = "Machine identification"
"""Beginning of the remarks in our own exports, which tells the model's rows from the collection's."""
FRACTIONS = ("xFrac", "yFrac", "widthFrac", "heightFrac")
"""Terms of a region of interest: x, y, width and height as fractions of the image."""
_CURRENT = ("identificationIsCurrent", "isCurrent", "isAcceptedIdentification")
OCCURRENCES = frozenset({"Occurrence", "Specimen", "MaterialSample", "MaterialEntity", "PreservedSpecimen", "Organism"})
"""Row types whose id is an ``occurrenceID``."""


def text_of(value: Any) -> str:
    """Return a value of the metadata as one line of text."""
    return "" if value is None else " ".join(str(value).split())


def stated_in(metadata: Mapping[str, Any], term: str) -> Any:
    """Return the value of a term, however the source spells its column; None without one."""
    if term in metadata:
        return metadata[term]
    spelled = _spellings(tuple(metadata)).get(column_name(term)) if metadata else None
    return None if spelled is None else metadata[spelled]


@lru_cache(maxsize=256)
def _spellings(names: tuple[str, ...]) -> Mapping[str, str]:
    return {column_name(name): name for name in reversed(names)}


def captured_at_of(core: Mapping[str, str], zone: str | None) -> datetime | None:
    """Return the moment of ``eventDate`` and ``eventTime``; None for a day, a month or a span of time."""
    day = core.get("eventDate", "")
    moment = moment_in(day, zone)
    if moment is None and len(day) == 10 and (time := core.get("eventTime", "")):
        moment = moment_in(f"{day}T{time}", zone)
    return moment


def place_of(core: Mapping[str, str]) -> Place:
    """Return country, state, coordinates and month, each None if it is not usable."""
    latitude, longitude = position_of(core.get("decimalLatitude"), core.get("decimalLongitude"))
    return Place(country_of(core.get("countryCode")), core.get("stateProvince"), latitude, longitude, _month(core))


def region_of(values: Mapping[str, str]) -> Region:
    """Return the box of a region of interest, which Audubon Core gives as fractions of the image.

    Raises:
        UsageError: if it is not a box inside the image.
    """
    numbers = [number for name in FRACTIONS if (number := number_of(values.get(name))) is not None]
    if len(numbers) != len(FRACTIONS):
        given = ", ".join(f"{name} {values.get(name, '')!r}" for name in FRACTIONS)
        raise UsageError(f"a region of interest with {given}: four fractions from 0 to 1 are needed (boxes only)")
    x, y, w, h = numbers
    return Region(x, y, w, h)


def is_ours(identification: Mapping[str, str]) -> bool:
    """True if an identification is a model's answer in one of our exports."""
    return identification.get("identificationRemarks", "").startswith(MACHINE_REMARK)


def weight_of(identification: Mapping[str, str]) -> str:
    """Return the key by which one of a specimen's identifications is chosen: current ones first, then by date."""
    current = any(identification.get(term, "").casefold() in ("1", "true", "yes") for term in _CURRENT)
    return f"{int(current)} {identification.get('dateIdentified', '')}"


def _month(core: Mapping[str, str]) -> int | None:
    """Return the month that all of ``eventDate`` lies in, else the term ``month``."""
    months = set()
    for part in core.get("eventDate", "").split("/"):
        try:
            months.add(date.fromisoformat(part[:10] if len(part) >= 10 else f"{part[:7]}-01").month)
        except ValueError:
            months.add(0)
    if len(months) == 1 and (found := months.pop()):
        return found
    stated = core.get("month", "")
    return int(stated) if stated.isdecimal() and 1 <= int(stated) <= 12 else None
