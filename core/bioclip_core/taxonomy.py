"""Taxa and their names: the seven ranks, binomials, hybrids, epithets and lineages with holes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bioclip_core.cells import plain_cells


class Rank(StrEnum):
    """The seven ranks of BioCLIP, most general first."""

    KINGDOM = "kingdom"
    PHYLUM = "phylum"
    CLASS = "class"
    ORDER = "order"
    FAMILY = "family"
    GENUS = "genus"
    SPECIES = "species"

    @property
    def depth(self) -> int:
        """0 for kingdom to 6 for species."""
        return RANKS.index(self)


RANKS: tuple[Rank, ...] = tuple(Rank)

# What collections write where they know nothing (compared in lower case).
_NOTHING = frozenset(
    "unknown null none nan n/a na not_classified unidentified undetermined indet indet. unassigned sp sp. spp spp. ? -".split()
)
_KINGDOMS = {
    "metazoa": "Animalia",
    "animals": "Animalia",
    "archaeplastida": "Plantae",
    "chloroplastida": "Plantae",
    "viridiplantae": "Plantae",
}
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,60}>")
# The letter x is a hybrid mark only where it stands alone (Xanthium, xiphium); the sign × always is.
_HYBRID = re.compile(r"^(?:[×✕]\s*|[xX]\s+)(?=[^\W\d_])")
_INFRASPECIFIC = re.compile(r"\s(?:subsp|ssp|var|subvar|f|forma|cv|aff|cf)\.?(?:\s|$)", re.IGNORECASE)
_EPITHET = re.compile(r"^[^\W\d_](?:[\w.\-']*\w)?$")  # a word that ends in a full stop is an abbreviation
_SUBGENUS = re.compile(r"^\([^()]*\)\s*")


@dataclass(frozen=True, slots=True)
class Taxon:
    """One taxon by its whole lineage. A rank that is not known is the empty string, wherever it stands.

    ``species`` holds the epithet alone ("palmatum"); a hybrid's begins with the mark and a space ("× schmittii").
    """

    kingdom: str = ""
    phylum: str = ""
    class_: str = ""
    order: str = ""
    family: str = ""
    genus: str = ""
    species: str = ""
    common_name: str = ""
    source_id: str = ""

    @classmethod
    def of(cls, lineage: Sequence[str], common_name: str = "", source_id: str = "") -> Taxon:
        """A taxon from the names of its ranks, kingdom first; names that are left off are not known."""
        kingdom, phylum, class_, order, family, genus, species = (*lineage[:7], *[""] * (7 - len(lineage)))
        return cls(kingdom, phylum, class_, order, family, genus, species, common_name, source_id)

    @property
    def lineage(self) -> tuple[str, str, str, str, str, str, str]:
        """The seven names, kingdom first; the whole of it is the taxon's key, never a name alone (hemihomonyms)."""
        return (self.kingdom, self.phylum, self.class_, self.order, self.family, self.genus, self.species)

    @property
    def rank(self) -> Rank | None:
        """The most specific rank that has a name; None where the lineage is empty (a custom label)."""
        return next((rank for rank in reversed(RANKS) if self.lineage[rank.depth]), None)

    @property
    def scientific_name(self) -> str:
        """The whole name at the taxon's own rank: "Acer palmatum" for a species, "Scaridae" for a family."""
        rank = self.rank
        if rank is Rank.SPECIES and self.genus:
            return f"{self.genus} {self.species}"
        return self.lineage[rank.depth] if rank else ""

    @property
    def taxonomic_name(self) -> str:
        """The names of all known ranks, joined by spaces: what the taxonomic caption holds."""
        return " ".join(name for name in self.lineage if name)

    def name_at(self, rank: Rank) -> str:
        """The name at one rank, whole for a species; empty where the lineage has none."""
        return self.truncated(rank).scientific_name if self.lineage[rank.depth] else ""

    def truncated(self, rank: Rank) -> Taxon:
        """The same lineage with every rank below ``rank`` removed; a species keeps its common name."""
        if rank is Rank.SPECIES:
            return self
        kept = self.lineage[: rank.depth + 1]
        return Taxon.of(kept, self.common_name if self.truncates_to_itself(rank) else "")

    def truncates_to_itself(self, rank: Rank) -> bool:
        """Whether nothing is known below ``rank``."""
        return not any(self.lineage[rank.depth + 1 :])

    def as_dict(self) -> dict[str, str]:
        """The seven ranks by their names, then ``common_name``."""
        return {**{rank.value: self.lineage[rank.depth] for rank in RANKS}, "common_name": self.common_name}


def clean_name(text: Any) -> str:
    """One cell as a name: tags and stray white space removed; the words collections use for "nothing" are empty."""
    if _is_missing(text):
        return ""
    name = _TAG.sub("", unicodedata.normalize("NFC", str(text))).replace("_", " ")
    name = " ".join(name.replace("\x00", "").split())
    return "" if name.lower() in _NOTHING or name.lower().replace(" ", "_") in _NOTHING else name


def _is_missing(cell: Any) -> bool:
    try:
        return cell is None or bool(cell != cell)  # NaN is not equal to itself
    except TypeError:  # pandas' NA is neither
        return True


def clean_epithet(text: Any, genus: str) -> str:
    """A species cell as an epithet: genus, subgenus, authority, year and infraspecific names removed, the hybrid mark made ``× ``."""
    name = clean_name(text)
    if not name:
        return ""
    name = _SUBGENUS.sub("", _without_genus(name, genus.removeprefix("× ")))
    name = _INFRASPECIFIC.split(" " + name)[0].strip() or ""
    hybrid = bool(_HYBRID.match(name))
    words = _HYBRID.sub("", name, count=1).split() if hybrid else name.split()
    if not words or words[0].lower() in _NOTHING or not _EPITHET.match(words[0]):
        return ""
    epithet = words[0].lower()
    return f"× {epithet}" if hybrid else epithet


def _without_genus(name: str, genus: str) -> str:
    """A species cell without the genus, whole or abbreviated, that it may begin with."""
    first, _, rest = _HYBRID.sub("", name).partition(" ")
    abbreviated = len(first) == 2 and first[1] == "." and first[0].lower() == genus[:1].lower()
    return rest if rest and genus and (abbreviated or first.lower() == genus.lower()) else name


def parse_binomial(text: Any) -> tuple[str, str]:
    """Genus and epithet of a scientific name; the epithet is empty for a name of one word.

    >>> parse_binomial("Prunus x schmittii Rehder")
    ('Prunus', '× schmittii')
    """
    name = clean_name(text)
    if not name:
        return "", ""
    nothogenus = bool(_HYBRID.match(name))
    words = (_HYBRID.sub("", name, count=1) if nothogenus else name).split()
    genus = ("× " if nothogenus else "") + words[0][:1].upper() + words[0][1:].lower()
    rest = _SUBGENUS.sub("", " ".join(words[1:])).split()
    if rest and (rest[0].lower() == "x" or rest[0][0] in "×✕" or rest[0][0].islower()):
        return genus, clean_epithet(" ".join(rest), "")
    return genus, ""


def taxon_from_row(row: Mapping[str, Any]) -> Taxon:
    """A taxon from a table's row with Darwin Core, TreeOfLife or plain column names, compared without case.

    The epithet is the first of ``specificEpithet``, ``species`` and (with its genus) ``scientificName`` that has one;
    ranks are capitalised, the genus leaves the species column. A row with no name at any rank gives an empty taxon.
    """
    cells = plain_cells(row)
    upper = [_capitalised(clean_name(cells.get(rank.value))) for rank in RANKS[:5]]
    upper[0] = _KINGDOMS.get(upper[0].lower(), upper[0])
    genus = _genus(cells.get("genus"))
    epithet = clean_epithet(cells.get("specificepithet"), genus) or _species_cell(cells.get("species"), genus)
    named_genus, named_epithet = parse_binomial(cells.get("scientificname")) if not epithet else ("", "")
    if named_epithet and genus in ("", named_genus):
        genus, epithet = named_genus, named_epithet
    if not genus and not epithet:
        genus, epithet = _binomial_in(cells.get("species"))
    common = next(
        (clean_name(cells[k]) for k in ("vernacularname", "commonname", "common") if clean_name(cells.get(k))), ""
    )
    source_id = next((clean_name(cells[k]) for k in ("taxonid", "sourceid") if clean_name(cells.get(k))), "")
    return Taxon.of([*upper, genus, epithet], common, source_id)


def _species_cell(cell: Any, genus: str) -> str:
    return clean_epithet(cell, genus) if genus else ""


def _binomial_in(cell: Any) -> tuple[str, str]:
    """A species cell without a genus column: a binomial gives both names, one word is an epithet alone."""
    genus, epithet = parse_binomial(cell)
    return (genus, epithet) if epithet else ("", clean_epithet(cell, ""))


def _genus(cell: Any) -> str:
    name = clean_name(cell)
    hybrid = bool(_HYBRID.match(name))
    words = (_HYBRID.sub("", name, count=1) if hybrid else name).split()
    return (("× " if hybrid else "") + _capitalised(words[0].lower())) if words else ""


def _capitalised(name: str) -> str:
    return name.capitalize() if name.isupper() else name[:1].upper() + name[1:]


def with_common_name(taxon: Taxon, common_name: str) -> Taxon:
    """The same taxon under another common name."""
    return replace(taxon, common_name=common_name)
