"""The tables of our archives: their files, their columns in order, and the meta.xml that describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO
from xml.sax.saxutils import quoteattr

from bioclip_core.files.meta_xml import META

PROFILE = "bioclip-plugin Darwin Core identifications 1"
EML = "eml.xml"
PROVENANCE = "provenance.json"
CANDIDATES = "candidates.tsv"
WITHDRAWN = "withdrawn.tsv"

_DWC = "http://rs.tdwg.org/dwc/terms/"
_AC = "http://rs.tdwg.org/ac/terms/"
_DC = "http://purl.org/dc/elements/1.1/"
_DCTERMS = "http://purl.org/dc/terms/"
_OTHER_VOCABULARIES: Mapping[str, str] = {
    "identifier": _DCTERMS, "description": _DCTERMS, "type": _DC, "format": _DC, "accessURI": _AC,
    "CreateDate": "http://ns.adobe.com/xap/1.0/",
    "providerManagedID": _AC, "isROIOf": _AC, "xFrac": _AC, "yFrac": _AC, "widthFrac": _AC, "heightFrac": _AC,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: the first column is the id of the occurrence, the others are terms."""

    file: str
    row_type: str
    terms: tuple[str, ...]
    is_core: bool = False

    @property
    def header(self) -> tuple[str, ...]:
        return ("id" if self.is_core else "coreid", *self.terms)


OCCURRENCES = Sheet(
    "occurrence.txt",
    f"{_DWC}Occurrence",
    tuple(
        "occurrenceID basisOfRecord institutionCode collectionCode catalogNumber eventDate countryCode stateProvince "
        "decimalLatitude decimalLongitude geodeticDatum coordinatePrecision verbatimEventDate verbatimLatitude verbatimLongitude "
        "verbatimCoordinates country occurrenceRemarks".split()
    ),
    is_core=True,
)
IDENTIFICATIONS = Sheet(
    "identification.txt",
    f"{_DWC}Identification",
    tuple(
        "identificationID identifiedBy identifiedByID dateIdentified scientificName taxonRank kingdom phylum class order family "
        "genus specificEpithet taxonID nameAccordingTo identificationVerificationStatus identificationReferences "
        "identificationRemarks".split()
    ),
)
IMAGES = Sheet(
    "multimedia.txt",
    f"{_AC}Multimedia",
    tuple(
        "identifier providerManagedID type format accessURI CreateDate description isROIOf xFrac yFrac widthFrac heightFrac".split()
    ),
)
SHEETS = (OCCURRENCES, IDENTIFICATIONS, IMAGES)
FILES = (META, EML, PROVENANCE, CANDIDATES, WITHDRAWN, *(sheet.file for sheet in SHEETS))
CANDIDATE_COLUMNS = tuple(
    "occurrenceID identificationID mediaID level position probability scientificName taxonRank kingdom phylum class order "
    "family genus specificEpithet model".split()
)
WITHDRAWN_COLUMNS = ("identificationID", "occurrenceID")


def meta_xml() -> str:
    """Return the meta.xml of our archives, which is always the same."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="{EML}">',
    ]
    for sheet in SHEETS:
        tag, key = ("core", "id") if sheet.is_core else ("extension", "coreid")
        addresses = [quoteattr(_OTHER_VOCABULARIES.get(term, _DWC) + term) for term in sheet.terms]
        lines += [
            f'  <{tag} rowType={quoteattr(sheet.row_type)} encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n"'
            ' fieldsEnclosedBy="" ignoreHeaderLines="1">',
            f"    <files><location>{sheet.file}</location></files>",
            f'    <{key} index="0"/>',
            *(f'    <field index="{place}" term={address}/>' for place, address in enumerate(addresses, 1)),
            f"  </{tag}>",
        ]
    return "\n".join([*lines, "</archive>", ""])


def write_line(file: IO[str], cells: Iterable[str]) -> None:
    """Write one line of a tab-separated table; tabs and line ends in a cell become a space, since no cell is quoted."""
    plain = (cell if cell.isprintable() else " ".join(cell.replace("\0", "").split()) for cell in cells)
    file.write("\t".join(plain) + "\n")
