"""Darwin Core's terms for a region of the image and for the catalogued name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bioclip_core.cells import column_name, number_of
from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.web import addresses_in

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


def associated_media(values: Mapping[str, str]) -> list[str]:
    """Return the names in a cell of associatedMedia: between bars, and other separators in front of an address.

    >>> associated_media({"associatedMedia": "a; b.jpg | c.jpg; https://example.org/d.jpg"})
    ['a; b.jpg', 'c.jpg', 'https://example.org/d.jpg']
    """
    parts = map(str.strip, values.get("associatedMedia", "").split("|"))
    return [name for part in parts for name in addresses_in(part)]


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
