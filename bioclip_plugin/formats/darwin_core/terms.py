"""Darwin Core's terms as the fields of a media item: when, where, which part of the image, and the catalogued name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from bioclip_core.cells import position_of
from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import Place, Region
from bioclip_plugin.items.time_zones import moment_in

IDENTIFICATION = "http://rs.tdwg.org/dwc/terms/Identification"
MACHINE_REMARK = "Machine identification"
"""What the remarks of our own exports begin with: such a row is no collection's word on its specimen."""
_CURRENT = ("identificationIsCurrent", "isCurrent", "isAcceptedIdentification")
_OCCURRENCES = frozenset(
    {"Occurrence", "Specimen", "MaterialSample", "MaterialEntity", "PreservedSpecimen", "Organism"}
)
_FRACTIONS = ("xFrac", "yFrac", "widthFrac", "heightFrac")


def catalogued(core: Mapping[str, str], core_id: str, kind: str) -> dict[str, Any]:
    """The terms under their plain names; the id of a row that is an occurrence is its ``occurrenceID`` where it has no other."""
    if kind in _OCCURRENCES and "occurrenceID" not in core:
        return {**core, "occurrenceID": core_id}
    return dict(core)


def captured_at_of(core: Mapping[str, str], zone: str | None) -> datetime | None:
    """The moment of ``eventDate`` and ``eventTime``; a day, a month or a span of time is none."""
    day = core.get("eventDate", "")
    moment = moment_in(day, zone)
    if moment is None and len(day) == 10 and (time := core.get("eventTime", "")):
        moment = moment_in(f"{day}T{time}", zone)
    return moment


def place_of(core: Mapping[str, str]) -> Place:
    """Country, state, coordinates and month; a pair of coordinates that cannot be, or is 0 and 0, is none."""
    latitude, longitude = position_of(core.get("decimalLatitude"), core.get("decimalLongitude"))
    code = core.get("countryCode", "").upper()
    country = code if code.isascii() and code.isalpha() and len(code) in (2, 3) else None
    return Place(country, core.get("stateProvince"), latitude, longitude, _month(core))


def region_of(values: Mapping[str, str]) -> Region:
    """The box of a region of interest, which Audubon Core gives as fractions of the image.

    Raises:
        UsageError: if it is no box inside the image.
    """
    cells = {name: values.get(name, "") for name in _FRACTIONS}
    try:
        x, y, w, h = (float(cell) for cell in cells.values())
    except ValueError as error:
        given = ", ".join(f"{name} {cell!r}" for name, cell in cells.items())
        raise UsageError(
            f"a region of interest with {given}: four fractions from 0 to 1 are needed (boxes only)"
        ) from error
    return Region(x, y, w, h)


def is_ours(identification: Mapping[str, str]) -> bool:
    """Whether a machine said it, in an export of ours."""
    return identification.get("identificationRemarks", "").startswith(MACHINE_REMARK)


def weight_of(identification: Mapping[str, str]) -> str:
    """What one of a specimen's identifications is chosen by: said to be current, then its date."""
    current = any(identification.get(term, "").casefold() in ("1", "true", "yes") for term in _CURRENT)
    return f"{int(current)} {identification.get('dateIdentified', '')}"


def _month(core: Mapping[str, str]) -> int | None:
    """The month that all of ``eventDate`` lies in, else the term ``month``."""
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
