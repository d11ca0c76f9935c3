"""Names in Camtrap DP: the observation type of a result, and the scientific names of taxa."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.formats.camtrap_dp.schema import name_fault
from bioclip_plugin.formats.shared.image_verdicts import is_below
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.store.records import StoredRegion

HOMO_SAPIENS = Taxon("Animalia", "Chordata", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens")
_KINDS = {"person": "human", "vehicle": "vehicle", "blank": "blank"}
"""Observation types of kinds of a detector's categories, and of verdicts, that are not a name."""
# Some collections leave the kingdom out; these taxa are animals without it.
_ANIMAL_PHYLA = frozenset(
    "Chordata Arthropoda Mollusca Annelida Echinodermata Cnidaria Porifera Nematoda Platyhelminthes".split()
)
_ANIMAL_CLASSES = frozenset(
    """Mammalia Aves Reptilia Squamata Testudines Crocodylia Amphibia Actinopterygii Actinopteri Chondrichthyes
    Elasmobranchii Insecta Arachnida Malacostraca""".split()
)


class Naming(NamedTuple):
    """The result for one region or image."""

    kind: str
    """An ``observationType``."""
    taxon: Taxon | None = None
    probability: float | None = None
    label: str = ""
    """Text of a custom label, which is not a scientific name."""

    @property
    def scientific_name(self) -> str:
        return self.taxon.scientific_name if self.taxon else ""


def naming_of(region: StoredRegion, threshold: float) -> Naming | None:
    """Return a run's result for a region; None for a box below the detector's threshold, which shows nothing."""
    if is_below(region, threshold):
        return None
    decision, box = region.decision, region.region
    category = box.category if box else ""
    if decision is None:
        if region.classified:
            return Naming("unclassified")
        if box is None or category in ("animal", ""):
            return None
        if naming := _nameless(kind_of_category(category), box.confidence):
            return naming
        # A box with a confidence is a detector's, and an animal below the threshold, whatever its word for it.
        return Naming("unclassified", None, None, category) if box.confidence is None else None
    if not region.classified and decision.verdict in ("unknown", "blank"):
        return None
    candidate = decision.candidate
    if naming := _nameless(decision.verdict, candidate.probability if candidate else None):
        return naming
    if decision.verdict == "unknown" or candidate is None:
        return Naming("unknown")
    if candidate.rank in ("label", "group"):
        return Naming("unclassified", None, candidate.probability, candidate.name)
    taxon = named_taxon(candidate.taxon)
    if taxon is None:
        return Naming("unknown")
    return Naming(kind_of_taxon(taxon, is_detected=category == "animal"), taxon, candidate.probability)


def _nameless(word: str, probability: float | None) -> Naming | None:
    """Return the result for a category or verdict that needs no name from the model; None for others."""
    kind = _KINDS.get(word)
    return Naming(kind, HOMO_SAPIENS if kind == "human" else None, probability) if kind else None


def kind_of_taxon(taxon: Taxon, *, is_detected: bool = False) -> str:
    """Return the observation type of a taxon. Camtrap DP has none for plants and fungi, which are unclassified.

    Args:
        taxon: the taxon.
        is_detected: a detector called it an animal.
    """
    if taxon.genus == "Homo" and taxon.species == "sapiens":
        return "human"
    if taxon.kingdom:
        return "animal" if is_of_animals(taxon.kingdom) else "unclassified"
    is_known = taxon.phylum in _ANIMAL_PHYLA or taxon.class_ in _ANIMAL_CLASSES or taxon.family.endswith("idae")
    return "animal" if is_known or is_detected else "unclassified"


def is_of_animals(kingdom: str) -> bool:
    """True if a kingdom is that of the animals; in the invented tree of the demo model it is Fictanimalia."""
    return kingdom == "Metazoa" or kingdom.lower().endswith("animalia")


def named_taxon(taxon: Taxon) -> Taxon | None:
    """Return the taxon or the nearest one above it with a complete scientific name (not an epithet without its genus)."""
    for rank in reversed(RANKS):
        if taxon.lineage[rank.depth]:
            found = taxon.truncated(rank)
            if (
                (rank is not Rank.SPECIES or found.genus)
                and found.scientific_name
                and not name_fault(found.scientific_name)
            ):
                return found
    return None


def taxonomic_entry(name: str, taxon: Taxon | None, stated: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the entry of a name in ``taxonomic``: that of the package it came from, else from its taxon."""
    if stated is not None:
        return dict(stated)
    entry: dict[str, Any] = {"scientificName": name}
    if taxon is None or taxon.rank is None:
        return entry
    is_below = taxon.rank is Rank.SPECIES and len(name.replace("× ", "").split()) > 2
    entry["taxonRank"] = "subspecies" if is_below else taxon.rank.value
    above = [rank for rank in RANKS[:-1] if taxon.lineage[rank.depth] and rank.depth <= taxon.rank.depth]
    return entry | {rank.value: taxon.lineage[rank.depth] for rank in above}
