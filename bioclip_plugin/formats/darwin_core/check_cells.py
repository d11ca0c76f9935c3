"""Checks of the cells of occurrences, identifications and media."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from bioclip_core.cells import degrees_of, plain_number_of
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.problem import Severity
from bioclip_plugin.formats.darwin_core.terms import FRACTIONS, associated_media

Cells = Mapping[str, str]
Finding = tuple[str, str, Severity]
"""Message, value, severity."""

_BASES = frozenset(
    "PreservedSpecimen FossilSpecimen LivingSpecimen MaterialSample MaterialEntity MaterialCitation HumanObservation "
    "MachineObservation Occurrence Observation Taxon Event".split()
)
_BY_SPELLING = {word.casefold(): word for word in _BASES}
_OTHER_RANKS = frozenset(
    "domain subkingdom superphylum subphylum superclass subclass infraclass superorder suborder infraorder superfamily subfamily "
    "tribe subtribe subgenus section series subspecies variety form cultivar hybrid unranked species_group".split()
)
_STATUSES = frozenset({"unverified", "verified", "validated", "accepted", "rejected"})
_MEDIA_TYPES = frozenset(
    {"stillimage", "movingimage", "sound", "text", "image", "interactiveresource", "dataset", "collection"}
)
_QUALIFIER = re.compile(r"(?:^|\s)(?:cf|aff|sp|spp|nr|agg|indet|ssp)\.?(?:\s|$)|\?")
_ABBREVIATED = re.compile(r"^[^\W\d_]\.\s")
_OURS = re.compile(r"urn:uuid:[0-9a-f-]{36}$")
_LOCAL = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)
_QUALIFIED = (
    "scientificName holds a qualifier; give the lowest rank that is sure, and the qualifier in identificationQualifier"
)
_LEAVES = "leaves the archive; a path inside it, or an address on the web is needed"
_ROUNDING = 1e-4


def of_anything(values: Cells) -> Iterator[Finding]:
    """Check the dates that any table may have."""
    yield from _dates(values, "eventDate", "dateIdentified")


def of_occurrence(values: Cells) -> Iterator[Finding]:
    """Check coordinates, dates and controlled words of an occurrence."""
    yield from _dates(values, "eventDate")
    yield from _coordinates(values)
    code = values.get("countryCode", "")
    if code and not re.fullmatch("[A-Z]{2}", code):
        yield "countryCode must be two capital letters (ISO 3166-1)", code, "error"
    for name in associated_media(values):
        if _leaves(name):
            yield f"associatedMedia {_LEAVES}", name, "error"
    basis = values.get("basisOfRecord", "")
    if basis and basis_of(basis) is None:
        yield f"basisOfRecord is not one of {', '.join(sorted(_BASES))}", basis, "warning"


def basis_of(text: str) -> str | None:
    """Return a word for ``basisOfRecord`` as Darwin Core spells it; None for another word.

    >>> basis_of("preserved specimen"), basis_of("PRESERVED_SPECIMEN"), basis_of("Herbarbeleg")
    ('PreservedSpecimen', 'PreservedSpecimen', None)
    """
    return _BY_SPELLING.get(re.sub(r"[\s_-]", "", text).casefold())


def is_event_date(text: str) -> bool:
    """True if ``eventDate`` may have this value: a date, time, month, year or span of them."""
    return bool(text) and all(map(_is_date, text.split("/", 1)))


def of_identification(values: Cells) -> Iterator[Finding]:
    """Check identifier, date and name of an identification; the name against its rank and the names above it."""
    if not values.get("identificationID"):
        yield "identificationID is empty: the same identification cannot be recognised later", "", "error"
    if not values.get("identifiedBy"):
        yield "identifiedBy is empty: a person or a machine must be named", "", "warning"
    yield from _dates(values, "dateIdentified")
    status = values.get("identificationVerificationStatus", "")
    if status and status.casefold() not in _STATUSES:
        yield f"identificationVerificationStatus is not one of {', '.join(sorted(_STATUSES))}", status, "warning"
    name = values.get("scientificName", "")
    if not name:
        yield "scientificName is empty", "", "error"
    elif _QUALIFIER.search(name.casefold()):
        yield _QUALIFIED, name, "error"
    elif _ABBREVIATED.match(name):
        yield "scientificName is abbreviated; it must be whole", name, "error"
    else:
        yield from _rank(values, name)


def of_media(values: Cells) -> Iterator[Finding]:
    """Check the address of an image, or the fractions of a region of interest."""
    kind = values.get("type", "").rsplit("/", 1)[-1].replace(" ", "").casefold()
    if kind and kind not in _MEDIA_TYPES:
        yield "type is not a word of Dublin Core's types, such as StillImage", values["type"], "warning"
    if "isROIOf" in values:
        yield from _fractions(values)
        return
    term = next((name for name in ("accessURI", "identifier") if name in values), "")
    if not term:
        yield "neither accessURI nor identifier gives the place of the image", "", "error"
    elif _leaves(values[term]):
        yield f"{term} {_LEAVES}", values[term], "error"
    if any(name in values for name in FRACTIONS):
        yield "it has the fractions of a region of interest without isROIOf", values.get("xFrac", ""), "error"


def _leaves(name: str) -> bool:
    """True if a name is a path of one computer, or one that leads out of the archive's folder."""
    path = posixpath.normpath(name.replace("\\", "/"))
    return bool(_LOCAL.match(name)) or ("://" not in name and (path == ".." or path.startswith("../")))


def our_media(values: Cells) -> list[str]:
    """Return the images on which an identification of ours is based; other archives refer to books here."""
    parts = [part.strip() for part in values.get("identificationReferences", "").split("|")]
    return parts if all(_OURS.match(part) for part in parts) else []


def _rank(values: Cells, name: str) -> Iterator[Finding]:
    rank = values.get("taxonRank", "").casefold()
    known = [level.value for level in RANKS]
    if rank not in known:
        if rank not in _OTHER_RANKS:
            yield "taxonRank is empty or not a rank", rank, "error" if rank else "warning"
        return
    words = [word for word in name.split() if word not in ("×", "x")]
    if rank == "species" and len(words) < 2:
        yield "taxonRank is species and scientificName has one word", name, "error"
    elif rank == "species":
        for term, word in zip(("genus", "specificEpithet"), words, strict=False):
            stated = _plain(values.get(term, ""))
            if stated and stated.casefold() != word.strip("×").casefold():
                yield f"{term} is not the one in scientificName {name!r}", stated, "error"
    else:
        if values.get("specificEpithet"):
            yield f"taxonRank is {rank} and there is a specificEpithet", values["specificEpithet"], "error"
        stated = values.get(rank, "")
        if stated and _plain(stated).casefold() != (words[0] if words else "").strip("×").casefold():
            yield f"taxonRank is {rank}, and the column {rank} is not scientificName {name!r}", stated, "error"
        if lower := next((below for below in known[known.index(rank) + 1 : -1] if values.get(below)), None):
            yield f"taxonRank is {rank}, and {lower}, which is below it, is filled in", values[lower], "error"


def _plain(name: str) -> str:
    return name.replace("×", "").strip()


def _fractions(values: Cells) -> Iterator[Finding]:
    given = [values.get(name) for name in FRACTIONS]
    if all(cell is None for cell in given):
        return  # a circle, or a part of a film
    numbers = [plain_number_of(cell) for cell in given]
    good = [number for number in numbers if number is not None and 0 <= number <= 1]
    for name, cell, number in zip(FRACTIONS, given, numbers, strict=True):
        if number is None or not 0 <= number <= 1:
            yield f"{name} must be a fraction from 0 to 1", cell or "", "error"
        elif name.startswith(("width", "height")) and number == 0:
            yield f"{name} must be above 0", cell or "", "error"
    if len(good) == len(FRACTIONS) and (good[0] + good[2] > 1 + _ROUNDING or good[1] + good[3] > 1 + _ROUNDING):
        yield "the region of interest reaches beyond the image", " ".join(str(cell) for cell in given), "error"


def _coordinates(values: Cells) -> Iterator[Finding]:
    terms = ("decimalLatitude", "decimalLongitude")
    cells = [values.get(name, "") for name in terms]
    if bool(cells[0]) != bool(cells[1]):
        yield "one of decimalLatitude and decimalLongitude is empty", " ".join(cells).strip(), "error"
        return
    for name, cell, limit in zip(terms, cells, (90, 180), strict=True):
        if cell and degrees_of(cell, limit) is None:
            yield f"{name} must be a number from {-limit} to {limit}", cell, "error"
    if [plain_number_of(cell) for cell in cells] == [0, 0]:
        yield "decimalLatitude and decimalLongitude are both 0, which usually means an unknown place", "0 0", "warning"


def _dates(values: Cells, *terms: str) -> Iterator[Finding]:
    for term in terms:
        cell = values.get(term, "")
        if cell and not is_event_date(cell):
            yield (
                f"{term} must be a date as 2024-05-31, or a time, month, year or span of them (ISO 8601)",
                cell,
                "error",
            )


def _is_date(cell: str) -> bool:
    if re.fullmatch(r"\d{4}|\d{2}(-\d{2})?", cell):  # a year, or the short end of a span
        return True
    try:
        datetime.fromisoformat(f"{cell}-01" if re.fullmatch(r"\d{4}-\d{2}", cell) else cell)
    except ValueError:
        return False
    return True
