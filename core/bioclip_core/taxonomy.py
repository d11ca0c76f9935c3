"""Taxa: the seven ranks, and lineages that may have holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from bioclip_core.cells import plain_cells
from bioclip_core.names import HYBRID_FORMULA, PLACEHOLDER, WrittenName, clean_name, parse_name, parse_species
from bioclip_core.naming.first import IDENTIFIER
from bioclip_core.naming.ranks import holding_rank, rank_by_name, rank_named
from bioclip_core.naming.words import FIRST


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
PLAIN_LABEL = "plain label"
"""Word for a label without a taxonomy, in the place of a rank."""
_OF_FAMILIES = ("idae", "aceae")
"""Endings of families that no genus has."""
_RANK_VALUES = tuple(rank.value for rank in RANKS)

_KINGDOMS = {
    "metazoa": "Animalia",
    "animals": "Animalia",
    "archaeplastida": "Plantae",
    "chloroplastida": "Plantae",
    "viridiplantae": "Plantae",
}


@dataclass(frozen=True, slots=True)
class Taxon:
    """One taxon with its lineage. Unknown ranks are empty strings, wherever they are in the lineage.

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
        """Return a taxon from the names of its ranks, kingdom first; missing names at the end are unknown."""
        kingdom, phylum, class_, order, family, genus, species = (*lineage[:7], *[""] * (7 - len(lineage)))
        return cls(kingdom, phylum, class_, order, family, genus, species, common_name, source_id)

    @property
    def lineage(self) -> tuple[str, str, str, str, str, str, str]:
        """The seven names, kingdom first. The key of a taxon is all of them, since kingdoms share names (hemihomonyms)."""
        return (self.kingdom, self.phylum, self.class_, self.order, self.family, self.genus, self.species)

    @classmethod
    def plain(cls, words: str) -> Taxon:
        """Return a plain label: words without a taxonomy, which stand in the place of the epithet and are the common name too."""
        return cls(species=words, common_name=words)

    @property
    def is_plain(self) -> bool:
        """True for a plain label. An epithet without its genus names nothing, so no taxon has this form."""
        return bool(self.species) and self.species == self.common_name and not any(self.lineage[:-1])

    @property
    def rank(self) -> Rank | None:
        """The most specific rank with a name; None for an empty lineage (a custom label)."""
        return next((rank for rank in reversed(RANKS) if self.lineage[rank.depth]), None)

    @property
    def scientific_name(self) -> str:
        """The full name at the taxon's own rank: "Acer palmatum" for a species, "Scaridae" for a family."""
        rank = self.rank
        if rank is Rank.SPECIES and self.genus:
            return f"{self.genus} {self.species}"
        return self.lineage[rank.depth] if rank else ""

    @property
    def words(self) -> str:
        """The words of a label without a taxonomy, a plain or a custom one; empty for a taxon."""
        return self.common_name if self.is_plain or self.rank is None else ""

    @property
    def name(self) -> str:
        """The scientific name, or the words of a label without a taxonomy."""
        return self.scientific_name or self.common_name

    @property
    def taxonomic_name(self) -> str:
        """The names of all known ranks, joined by spaces, as in the taxonomic caption."""
        return " ".join(name for name in self.lineage if name)

    def name_at(self, rank: Rank) -> str:
        """Return the name at one rank, a binomial for a species; empty if the lineage has none."""
        return self.truncated(rank).scientific_name if self.lineage[rank.depth] else ""

    def truncated(self, rank: Rank) -> Taxon:
        """Return the lineage without the ranks below ``rank``. The common name stays only if no name is removed."""
        if rank is Rank.SPECIES:
            return self
        return Taxon.of(
            self.lineage[: rank.depth + 1], common_name=self.common_name if self.truncates_to_itself(rank) else ""
        )

    def truncates_to_itself(self, rank: Rank) -> bool:
        """True if no rank below ``rank`` has a name."""
        return not any(self.lineage[rank.depth + 1 :])

    def as_dict(self) -> dict[str, str]:
        """Return the seven ranks by their names, then ``common_name``."""
        return {**{rank.value: self.lineage[rank.depth] for rank in RANKS}, "common_name": self.common_name}


class RowName(NamedTuple):
    """The name in a table's row."""

    taxon: Taxon
    """Empty for a row without a name at any rank."""
    notes: list[str]
    """A sentence for each part of the name that was placed or left out because of its rank or its doubt."""
    doubt: str = ""
    """Doubt about the name, as in :attr:`WrittenName.doubt`, also one that another column states."""
    doubted: str = ""
    """The epithet in doubt; empty if the row suggests none, or several."""
    unread: str = ""
    """Reason why the name that the row gives is not in ``taxon``; empty if it is, or if the row gives none."""


def taxon_from_row(row: Mapping[str, Any]) -> Taxon:
    """Return the taxon of a table's row with Darwin Core, TreeOfLife or plain column names; see :func:`read_row`."""
    return read_row(plain_cells(row)).taxon


def read_row(cells: Mapping[str, Any]) -> RowName:
    """Return the name in a row.

    The epithet comes from the first of ``specificEpithet``, ``species`` and ``scientificName`` that has one; a scientific
    name of another genus than the ``genus`` column is ignored. Nothing below a stated ``taxonRank`` is read, and no epithet
    that ``scientificName`` or ``identificationQualifier`` states to be in doubt.

    Args:
        cells: from :func:`~bioclip_core.cells.plain_cells`.
    """
    stated = rank_named(clean_name(cells.get("taxonrank")) or clean_name(cells.get("verbatimtaxonrank")))
    genus = _genus_named(cells.get("genus"))
    family = name_above_genus(cells.get("family"))
    epithet, own = "", WrittenName("")
    for column in ("specificepithet", "species"):
        if not epithet:
            named = parse_species(cells.get(column), genus)
            genus, epithet = genus or named.binomial[0], named.binomial[1]
            own = named if named.doubt or named.unread else own
    notes = []
    if genus.lower().endswith(_OF_FAMILIES):
        notes.append(f"genus {genus!r} is a family")
        family, genus = family or genus, ""
    whole = parse_name(cells.get("scientificname"), is_species=stated == Rank.SPECIES.value)
    if genus and not epithet and not whole.genus:
        whole = parse_species(cells.get("scientificname"), genus)  # "A. palmatum"
    if (not genus or not epithet) and whole.epithet and genus in ("", whole.binomial[0]):
        genus, epithet = whole.binomial
    doubt, doubted = (whole.doubt, whole.doubted) if whole.doubt else (own.doubt, own.doubted)
    qualifier = cells.get("identificationqualifier")
    if epithet and (stated_doubt := _doubted(genus, epithet, whole, qualifier if isinstance(qualifier, str) else "")):
        doubt, doubted, epithet = stated_doubt, epithet.removeprefix("× "), ""
        notes.append(f"epithet {doubted!r} left out: it is in doubt ({doubt})")
    elif epithet:
        doubt = doubted = ""
    upper = [name_above_genus(cells.get(rank.value)) for rank in RANKS[1:4]]
    lineage, placed = _with_one_word(
        [kingdom_named(cells.get("kingdom")), *upper, family, genus, epithet], whole, stated
    )
    lineage, cut = _cut_at_rank(lineage, stated)
    common = _first_cell(cells, "vernacularname", "commonname", "common")
    taxon = Taxon.of(lineage, common, _first_cell(cells, "taxonid", "sourceid"))
    return RowName(taxon, [*notes, *placed, *cut], doubt, doubted, _unread(taxon, whole, own))


def _unread(taxon: Taxon, *written: WrittenName) -> str:
    """Return the reason why no written name is in a taxon."""
    if taxon.genus:
        return ""
    for name in written:
        word = name.text.capitalize() if name.epithet_alone else name.binomial[0]
        if name.text and (not word or word not in taxon.lineage):
            return name.unread or "its rank is not one of the seven, or not stated"
    return ""


def _doubted(genus: str, epithet: str, whole: WrittenName, qualifier: str) -> str:
    """Return the doubt about an epithet of its own column that the scientific name or the qualifier of its row states."""
    word = epithet.removeprefix("× ")
    if whole.doubt and whole.doubted == word and whole.binomial[0] == genus:
        return whole.doubt
    if not qualifier:
        return ""
    if word in qualifier.lower().split():  # "aff. agrifolia" of Quercus agrifolia
        return parse_name(f"{genus} {qualifier}").doubt
    return parse_name(f"{genus} {word} {qualifier}").doubt


def _with_one_word(lineage: list[str], written: WrittenName, stated: str) -> tuple[list[str], list[str]]:
    """Add a scientific name of one word that no rank column has, at the rank that the row states or that the name tells."""
    name = written.text.capitalize() if written.epithet_alone else written.binomial[0]
    if not name or written.epithet or name in lineage or lineage[Rank.GENUS.depth]:
        return lineage, []
    known = rank_by_name(name)
    is_one_word = " " not in written.text
    if stated in _RANK_VALUES[:6] and not (known and written.doubt):
        rank, reason = stated, f"a {stated}, as taxonRank says"
    elif holding_rank(stated) not in ("", Rank.SPECIES.value) and is_one_word:
        return lineage, [f"scientificName {name!r} left out: it is a {stated}, which is none of the seven ranks"]
    elif known:
        rank, reason = known, f"{'an' if known == 'order' else 'a'} {known} by its ending"
    elif any(lineage[:4]) and not lineage[4] and is_one_word:
        return lineage, [f"scientificName {name!r} left out: its rank is not stated"]
    else:
        rank, reason = Rank.GENUS.value, "a genus"
    depth = Rank(rank).depth
    if any(lineage[depth:]):
        return lineage, []
    return [*lineage[:depth], name, *lineage[depth + 1 :]], [f"scientificName {name!r} taken as {reason}"]


def _cut_at_rank(lineage: list[str], stated: str) -> tuple[list[str], list[str]]:
    """Remove the names below the rank that a row states."""
    holder = holding_rank(stated)
    depth = Rank(holder).depth + 1 if holder else len(RANKS)
    removed = " ".join(filter(None, lineage[depth:]))
    if not removed:
        return lineage, []
    return [*lineage[:depth], *[""] * (len(RANKS) - depth)], [f"{removed!r} left out: taxonRank says {stated}"]


def kingdom_named(cell: Any) -> str:
    """Return the name that a kingdom has in BioCLIP's lineages: "Metazoa" is Animalia."""
    name = name_above_genus(cell)
    return _KINGDOMS.get(name.lower(), name)


def name_above_genus(cell: Any) -> str:
    """Return the name in a column of a rank above the genus, without author and remarks; empty for a placeholder."""
    return _name_above_genus(cell if isinstance(cell, str) else clean_name(cell))


@lru_cache(maxsize=4096)
def _name_above_genus(text: str) -> str:
    text = clean_name(text)
    if text.isalpha() and text.isascii() and text.lower() not in FIRST:
        return _capitalised(text)
    name = parse_name(text)
    if name.genus and not name.epithet and not name.reading and name.doubt != HYBRID_FORMULA:
        return name.binomial[0]
    return "" if name.unread == PLACEHOLDER else _capitalised(text)


def _genus_named(cell: Any) -> str:
    """Return the genus in a genus column, which is right about what it holds, even for a provisional name such as "UBA1234"."""
    text = clean_name(cell)
    name = parse_name(text[:1].upper() + text[1:])
    if name.unread:
        word = text.partition(" ")[0]
        return _capitalised(word.lower()) if name.unread == IDENTIFIER and any(map(str.isalpha, word)) else ""
    return name.binomial[0]


def _first_cell(cells: Mapping[str, Any], *columns: str) -> str:
    return next((name for column in columns if (name := clean_name(cells.get(column)))), "")


def _capitalised(name: str) -> str:
    return name.capitalize() if name.isupper() else name[:1].upper() + name[1:]
