"""What may stand in the cells of occurrences, identifications and media."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from datetime import date, datetime

from bioclip_core.cells import degrees_of, number_of
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.problem import Severity
from bioclip_plugin.formats.darwin_core.tables import Record

Finding = tuple[str, str, Severity]
"""Message, value, severity."""

_BASES = frozenset(
    "PreservedSpecimen FossilSpecimen LivingSpecimen MaterialSample MaterialEntity MaterialCitation HumanObservation "
    "MachineObservation Occurrence Observation Taxon Event".split()
)
_OTHER_RANKS = frozenset(
    "domain subkingdom superphylum subphylum superclass subclass infraclass superorder suborder infraorder superfamily subfamily "
    "tribe subtribe subgenus section series subspecies variety form cultivar hybrid unranked species_group".split()
)
_STATUSES = frozenset({"unverified", "verified", "validated", "accepted", "rejected"})
_MEDIA_TYPES = frozenset(
    {"stillimage", "movingimage", "sound", "text", "image", "interactiveresource", "dataset", "collection"}
)
_FRACTIONS = ("xFrac", "yFrac", "widthFrac", "heightFrac")
_QUALIFIER = re.compile(r"(?:^|\s)(?:cf|aff|sp|spp|nr|agg|indet|ssp)\.?(?:\s|$)|\?")
_ABBREVIATED = re.compile(r"^[^\W\d_]\.\s")
_OURS = re.compile(r"urn:uuid:[0-9a-f-]{36}$")
_LOCAL = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)
_LEAVES = "leaves the archive; a path inside it, or an address on the web is needed"
_ROUNDING = 1e-4


def of_anything(record: Record) -> Iterator[Finding]:
    """What holds in every table: dates that are dates."""
    yield from _dates(record, "eventDate", "dateIdentified")


def of_occurrence(record: Record) -> Iterator[Finding]:
    """Coordinates, dates and controlled words of an occurrence."""
    values = record.values
    yield from _dates(record, "eventDate")
    yield from _coordinates(record)
    code = values.get("countryCode", "")
    if code and not re.fullmatch("[A-Z]{2}", code):
        yield "countryCode must be two capital letters (ISO 3166-1)", code, "error"
    for name in values.get("associatedMedia", "").split("|"):
        if _leaves(name.strip()):
            yield f"associatedMedia {_LEAVES}", name.strip(), "error"
    basis = values.get("basisOfRecord", "")
    if basis and basis.replace(" ", "").replace("_", "").casefold() not in {word.casefold() for word in _BASES}:
        yield f"basisOfRecord is none of {', '.join(sorted(_BASES))}", basis, "warning"


def of_identification(record: Record) -> Iterator[Finding]:
    """Who, when and what; the name against its rank and the names above it."""
    values = record.values
    if not values.get("identificationID"):
        yield "identificationID is empty: the same identification cannot be known again", "", "error"
    if not values.get("identifiedBy"):
        yield "identifiedBy is empty: a person or a machine must be named", "", "warning"
    yield from _dates(record, "dateIdentified")
    status = values.get("identificationVerificationStatus", "")
    if status and status.casefold() not in _STATUSES:
        yield f"identificationVerificationStatus is none of {', '.join(sorted(_STATUSES))}", status, "warning"
    name = values.get("scientificName", "")
    if not name:
        yield "scientificName is empty", "", "error"
        return
    if _QUALIFIER.search(name.casefold()):
        yield (
            "scientificName holds a qualifier; give the lowest rank that is sure, and the qualifier in identificationQualifier",
            name,
            "error",
        )
    elif _ABBREVIATED.match(name):
        yield "scientificName is abbreviated; it must be whole", name, "error"
    else:
        yield from _rank(record, name)


def of_media(record: Record) -> Iterator[Finding]:
    """Where an image is, or which part of another one it is."""
    values = record.values
    kind = values.get("type", "").rsplit("/", 1)[-1].replace(" ", "").casefold()
    if kind and kind not in _MEDIA_TYPES:
        yield "type is no word of Dublin Core's types, such as StillImage", values["type"], "warning"
    if "isROIOf" in values:
        yield from _fractions(record)
        return
    term = next((name for name in ("accessURI", "identifier") if name in values), "")
    if not term:
        yield "neither accessURI nor identifier says where the image is", "", "error"
    elif _leaves(values[term]):
        yield f"{term} {_LEAVES}", values[term], "error"
    if any(name in values for name in _FRACTIONS):
        yield "it has the fractions of a region of interest without isROIOf", values.get("xFrac", ""), "error"


def _leaves(name: str) -> bool:
    """Whether a name is a path of one computer, or one out of the archive's folder."""
    if _LOCAL.match(name):
        return True
    path = posixpath.normpath(name.replace("\\", "/"))
    return "://" not in name and (path == ".." or path.startswith("../"))


def our_media(record: Record) -> list[str]:
    """The images that an identification of ours names as what it rests on; in other archives these are references to books."""
    parts = [part.strip() for part in record.values.get("identificationReferences", "").split("|")]
    return parts if parts and all(_OURS.match(part) for part in parts) else []


def _rank(record: Record, name: str) -> Iterator[Finding]:
    values = record.values
    rank = values.get("taxonRank", "").casefold()
    known = [one.value for one in RANKS]
    if not rank or rank not in known:
        if rank not in _OTHER_RANKS:
            yield "taxonRank is empty or no rank", rank, "error" if rank else "warning"
        return
    words = [word for word in name.split() if word not in ("×", "x")]
    if rank == "species":
        if len(words) < 2:
            yield "taxonRank is species and scientificName has one word", name, "error"
            return
        stated = [values.get(term, "").replace("×", "").strip() for term in ("genus", "specificEpithet")]
        for term, word, said in zip(("genus", "specificEpithet"), words, stated, strict=False):
            if said and said.casefold() != word.strip("×").casefold():
                yield f"{term} is not the one in scientificName {name!r}", said, "error"
        return
    if values.get("specificEpithet"):
        yield f"taxonRank is {rank} and there is a specificEpithet", values["specificEpithet"], "error"
    said = values.get(rank, "")
    if said and said.replace("×", "").strip().casefold() != (words[0] if words else "").strip("×").casefold():
        yield f"taxonRank is {rank}, and the column {rank} is not scientificName {name!r}", said, "error"
    lower = [one for one in known[known.index(rank) + 1 : -1] if values.get(one)]
    if lower:
        yield f"taxonRank is {rank}, and {lower[0]}, which is below it, is filled in", values[lower[0]], "error"


def _fractions(record: Record) -> Iterator[Finding]:
    given = [record.values.get(name) for name in _FRACTIONS]
    if all(cell is None for cell in given):
        return  # a circle, or a part of a film
    numbers = []
    for name, cell in zip(_FRACTIONS, given, strict=True):
        number = number_of(cell or "")
        if number is None or not 0 <= number <= 1:
            yield f"{name} must be a fraction from 0 to 1", cell or "", "error"
        elif name.startswith(("width", "height")) and number == 0:
            yield f"{name} must be above 0", cell or "", "error"
        else:
            numbers.append(number)
    if len(numbers) == len(_FRACTIONS):
        x, y, w, h = numbers
        if x + w > 1 + _ROUNDING or y + h > 1 + _ROUNDING:
            yield "the region of interest reaches beyond the image", " ".join(str(cell) for cell in given), "error"


def _coordinates(record: Record) -> Iterator[Finding]:
    cells = [record.values.get(name, "") for name in ("decimalLatitude", "decimalLongitude")]
    if bool(cells[0]) != bool(cells[1]):
        yield "one of decimalLatitude and decimalLongitude is empty", " ".join(cells).strip(), "error"
        return
    for name, cell, limit in zip(("decimalLatitude", "decimalLongitude"), cells, (90, 180), strict=True):
        if cell and degrees_of(cell, limit) is None:
            yield f"{name} must be a number from {-limit} to {limit}", cell, "error"
    if [number_of(cell) for cell in cells] == [0, 0]:
        yield "decimalLatitude and decimalLongitude are both 0, which is usually a missing place", "0 0", "warning"


def _dates(record: Record, *terms: str) -> Iterator[Finding]:
    for term in terms:
        cell = record.values.get(term, "")
        if cell and not all(_is_date(part) for part in cell.split("/", 1)):
            yield (
                f"{term} must be a date as 2024-05-31, or a time, month, year or span of them (ISO 8601)",
                cell,
                "error",
            )


def _is_date(cell: str) -> bool:
    if re.fullmatch(r"\d{4}", cell):
        return True
    try:
        if re.fullmatch(r"\d{4}-\d{2}", cell):
            date.fromisoformat(f"{cell}-01")
        else:
            datetime.fromisoformat(cell)
    except ValueError:
        return bool(re.fullmatch(r"\d{2}(-\d{2})?", cell))  # the end of a span, short
    return True
