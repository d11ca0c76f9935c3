"""Taxa: the seven ranks, and lineages that may have holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bioclip_core.cells import plain_cells
from bioclip_core.names import clean_name, parse_name, parse_species


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


def taxon_from_row(row: Mapping[str, Any]) -> Taxon:
    """Return the taxon of a table's row with Darwin Core, TreeOfLife or plain column names.

    The epithet comes from the first of ``specificEpithet``, ``species`` and ``scientificName`` that has one; a scientific
    name of another genus than the ``genus`` column is ignored. A row without a name at any rank gives an empty taxon.
    """
    cells = plain_cells(row)
    upper = [_capitalised(clean_name(cells.get(rank.value))) for rank in RANKS[1:5]]
    written_genus = clean_name(cells.get("genus"))
    # A genus column is right about what it holds, even for a provisional name such as "UBA1234".
    genus = parse_name(written_genus).binomial[0] or _capitalised(written_genus.partition(" ")[0].lower())
    epithet = ""
    for column in ("specificepithet", "species"):
        if not epithet:
            named = parse_species(cells.get(column), genus)
            genus, epithet = genus or named.binomial[0], named.binomial[1]
    if not genus or not epithet:
        is_species = clean_name(cells.get("taxonrank")).lower() == Rank.SPECIES.value
        named = parse_name(cells.get("scientificname"), is_species=is_species)
        if named.epithet and genus in ("", named.binomial[0]):
            genus, epithet = named.binomial
    return Taxon.of(
        [kingdom_named(cells.get("kingdom")), *upper, genus, epithet],
        _first_cell(cells, "vernacularname", "commonname", "common"),
        _first_cell(cells, "taxonid", "sourceid"),
    )


def kingdom_named(cell: Any) -> str:
    """Return the name that a kingdom has in BioCLIP's lineages: "Metazoa" is Animalia."""
    name = clean_name(cell)
    return _KINGDOMS.get(name.lower(), _capitalised(name))


def _first_cell(cells: Mapping[str, Any], *columns: str) -> str:
    return next((name for column in columns if (name := clean_name(cells.get(column)))), "")


def _capitalised(name: str) -> str:
    return name.capitalize() if name.isupper() else name[:1].upper() + name[1:]
