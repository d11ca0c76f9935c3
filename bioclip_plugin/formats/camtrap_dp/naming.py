"""What a result is called in Camtrap DP: the type of an observation, and the names that its taxa have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.formats.camtrap_dp.cells import name_fault
from bioclip_plugin.store.records import StoredRegion

HOMO_SAPIENS = Taxon("Animalia", "Chordata", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens")
# Of collections that leave the kingdom out: what is certainly an animal without it.
_ANIMAL_PHYLA = frozenset(
    "Chordata Arthropoda Mollusca Annelida Echinodermata Cnidaria Porifera Nematoda Platyhelminthes".split()
)
_ANIMAL_CLASSES = frozenset(
    """Mammalia Aves Reptilia Squamata Testudines Crocodylia Amphibia Actinopterygii Actinopteri Chondrichthyes
    Elasmobranchii Insecta Arachnida Malacostraca""".split()
)


class Naming(NamedTuple):
    """What one region or image shows."""

    kind: str
    """An ``observationType``."""
    taxon: Taxon | None = None
    probability: float | None = None
    label: str = ""
    """A custom label's words, which are no scientific name."""

    @property
    def scientific_name(self) -> str:
        return self.taxon.scientific_name if self.taxon else ""


def naming_of(region: StoredRegion) -> Naming | None:
    """What the run says of a region; None for a box below the detector's threshold, which is not shown to be anything."""
    stated, decision = region.region, region.decision
    if decision is None:
        category = stated.category if stated else ""
        confidence = stated.confidence if stated else None
        if region.classified:
            return Naming("unclassified")
        if category in ("person", "human"):
            return Naming("human", HOMO_SAPIENS, confidence)
        if category in ("vehicle", "blank"):
            return Naming(category, None, confidence)
        return None if category in ("animal", "") else Naming("unclassified", None, confidence, category)
    if not region.classified and decision.verdict in ("unknown", "blank"):
        return None
    candidate = decision.candidate
    probability = candidate.probability if candidate else None
    if decision.verdict == "person":
        return Naming("human", HOMO_SAPIENS, probability)
    if decision.verdict in ("vehicle", "blank", "unknown"):
        return Naming(decision.verdict, None, probability if decision.verdict != "unknown" else None)
    return (
        named(candidate, detected_animal=stated is not None and stated.category == "animal")
        if candidate
        else Naming("unknown")
    )


def named(candidate: Candidate, *, detected_animal: bool) -> Naming:
    """What a candidate is called: a custom label is no taxon, a name that is not whole goes up to one that is."""
    if candidate.rank in ("label", "group"):
        return Naming("unclassified", None, candidate.probability, candidate.name)
    taxon = whole(candidate.taxon)
    if taxon is None:
        return Naming("unknown")
    return Naming(kind_of_taxon(taxon, detected_animal=detected_animal), taxon, candidate.probability)


def kind_of_taxon(taxon: Taxon, *, detected_animal: bool = False) -> str:
    """The observation type of a taxon. Camtrap DP has none for plants and fungi: they are unclassified."""
    if taxon.genus == "Homo" and taxon.species == "sapiens":
        return "human"
    kingdom = taxon.kingdom
    if kingdom:
        # The invented tree of life of the demo model has the kingdom Fictanimalia.
        return "animal" if kingdom == "Metazoa" or kingdom.lower().endswith("animalia") else "unclassified"
    known = taxon.phylum in _ANIMAL_PHYLA or taxon.class_ in _ANIMAL_CLASSES or taxon.family.endswith("idae")
    return "animal" if known or detected_animal else "unclassified"


def whole(taxon: Taxon) -> Taxon | None:
    """The taxon, or the nearest one above it, whose scientific name is whole: an epithet without its genus is none."""
    for rank in (*reversed(RANKS),):
        if not taxon.lineage[rank.depth]:
            continue
        found = taxon.truncated(rank)
        name = found.scientific_name
        if (rank is not Rank.SPECIES or found.genus) and name and not name_fault(name):
            return found
    return None


def taxonomic_entry(name: str, taxon: Taxon | None, stated: Mapping[str, Any] | None) -> dict[str, Any]:
    """A name's entry in the package's ``taxonomic``: the one of the package that it came from, else what its taxon says."""
    if stated is not None:
        return dict(stated)
    entry: dict[str, Any] = {"scientificName": name}
    if taxon is None or taxon.rank is None:
        return entry
    below = taxon.rank is Rank.SPECIES and len(name.replace("× ", "").split()) > 2
    entry["taxonRank"] = "subspecies" if below else taxon.rank.value
    for rank in RANKS[:-1]:
        if taxon.lineage[rank.depth] and rank.depth <= taxon.rank.depth:
            entry[rank.value] = taxon.lineage[rank.depth]
    return entry
