"""Tables of common names: EOL's vernacular names, GBIF's VernacularName, and any table of scientific and common names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_core.listed_names import listed
from bioclip_core.names import clean_name
from bioclip_core.tables.reading import open_table
from bioclip_training.curation.naming.vernaculars import language_of

_NAMES = ("vernacularname", "vernacularstring", "commonname", "common", "name")
_LANGUAGES = ("language", "languagecode", "lang", "iso639", "isocode")
_TAXA = ("canonicalform", "canonicalname", "scientificname", "taxonname", "species")
_IDS = ("pageid", "eolid", "eolpageid", "taxonid", "gbifid", "taxonkey")
_OF_EOL = frozenset(("pageid", "eolid", "eolpageid"))
_PREFERRED = ("ispreferredbyeol", "ispreferredname", "preferred", "ispreferred")
_YES = frozenset(("1", "true", "yes", "t", "y", "preferred"))


@dataclass(frozen=True, slots=True)
class CommonName:
    """One row of a table."""

    name: str
    language: str
    """Of two letters; empty if the table does not say it."""
    scientific_name: str
    """Empty if the table only has ids."""
    taxon_id: str
    is_of_eol: bool
    """True if the id is an EOL page; otherwise it is one of the taxonomy's checklist."""
    is_preferred: bool


def read_common_names(path: Path, findings: Findings) -> Iterator[CommonName]:
    """Yield the rows of a table with a name and a taxon.

    Raises:
        SourceError: if it cannot be read.
        DataError: if it has no column of common names or none of taxa.
    """
    table = open_table(path, findings=findings, needed=_NAMES)
    columns: dict[str, str] = {}
    for heading in table.headings.names:
        columns.setdefault(column_name(heading), heading)

    def column(*names: str) -> str:
        return next((columns[name] for name in names if name in columns), "")

    name, language, taxon, preferred = column(*_NAMES), column(*_LANGUAGES), column(*_TAXA), column(*_PREFERRED)
    ids = column(*_IDS)
    if not name or not (taxon or ids):
        lacking = "a common name" if not name else "a taxon"
        wanted = _NAMES if not name else (*_TAXA, *_IDS)
        raise DataError(
            f"{path} has no column of {lacking}: its columns are {listed([*columns.values()])}; rename one to one of {listed(wanted)}"
        )
    of_eol = column_name(ids) in _OF_EOL
    for row in table:
        cells = row.cells
        if written := clean_name(cells.get(name)):
            yield CommonName(
                written, language_of(str(cells.get(language, "") or "")), clean_name(cells.get(taxon)) if taxon else "",
                str(cells.get(ids, "") or "").strip() if ids else "", of_eol,
                str(cells.get(preferred, "") or "").strip().lower() in _YES,
            )  # fmt: skip
