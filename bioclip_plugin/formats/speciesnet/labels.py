"""SpeciesNet's labels, ``uuid;class;order;family;genus;species;common name``: read to taxa, and written from them.

A label has no kingdom and no phylum, is in lower case, and its species is the epithet. Five labels are no taxa of a
classifier but verdicts; their ids are fixed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon

Kind = Literal["taxon", "unknown", "blank", "person", "vehicle"]

BLANK = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
ANIMAL = "1f689929-883d-4dae-958c-3d57ab5b6c16;;;;;;animal"
HUMAN = "990ae9dd-7a59-4344-afcb-1b7b21368000;mammalia;primates;hominidae;homo;sapiens;human"
VEHICLE = "e2895ed5-780b-48f6-8a11-9e27cb594511;;;;;;vehicle"
UNKNOWN = f"f2efdae9-efb8-48fb-8a91-eccf79ab4ffb{';no cv result' * 6}"
_OF_KIND: dict[Kind, str] = {"blank": BLANK, "person": HUMAN, "vehicle": VEHICLE, "unknown": UNKNOWN}

_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("blank", "empty"), "blank"),
    **dict.fromkeys(("human", "person", "people", "homo sapiens"), "person"),
    "vehicle": "vehicle",
}  # fmt: skip

ANIMALS = Taxon(kingdom="Animalia")
PEOPLE = Taxon("Animalia", "", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens", "human")

# Ids of our own for taxa that have none of SpeciesNet's: the same taxon gets the same one everywhere.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "bioclip-plugin.speciesnet-labels")
_RANKS = RANKS[2:]  # class to species: what a label holds


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says."""

    kind: Kind
    taxon: Taxon
    """Of a person Homo sapiens; empty for a blank, a vehicle, an unknown and names that are no taxon."""


def parse_label(text: str) -> Label:
    """Read a label. Kingdom is Animalia where a class is stated: SpeciesNet names animals only.

    Raises:
        UsageError: if it is not made of seven parts.
    """
    parts = [part.strip() for part in text.split(";")]
    if len(parts) != 7:
        raise UsageError(
            f"label {text!r}: a SpeciesNet label has 7 parts between semicolons, this one has {len(parts)}"
        )
    identifier, *names, common = parts
    # An unknown counts as an animal whose class is not known: so does SpeciesNet's own roll-up.
    if "no cv result" in (names[0].lower(), common.lower()):
        return Label("unknown", ANIMALS)
    if not any(names) and common.lower() in ("blank", "vehicle"):
        return Label("blank" if common.lower() == "blank" else "vehicle", Taxon())
    if not any(names) and common.lower() == "animal":
        return Label("taxon", Taxon(kingdom="Animalia", source_id=identifier))
    upper = [name[:1].upper() + name[1:] for name in names[:4]]
    taxon = Taxon.of(["Animalia" if names[0] else "", "", *upper, names[4]], common, identifier)
    return Label("person" if taxonomy_of(taxon) == taxonomy_of(PEOPLE) else "taxon", taxon)


def taxonomy_of(taxon: Taxon) -> str:
    """``class;order;family;genus;species`` in lower case: the key of a taxon in SpeciesNet's own tables.

    >>> taxonomy_of(Taxon("Animalia", "Chordata", "Mammalia", "Carnivora"))
    'mammalia;carnivora;;;'
    """
    return ";".join(taxon.lineage[2:]).lower()


def label_of(taxon: Taxon) -> str:
    """The label of a taxon; its own id where that is a UUID, else one made from the whole lineage.

    Animals as a whole and people get the labels that SpeciesNet knows them by.
    """
    if taxon.lineage == ANIMALS.lineage:
        return ANIMAL
    if taxonomy_of(taxon) == taxonomy_of(PEOPLE):
        return HUMAN
    names = [_part(name) for name in taxon.lineage[2:]]
    return ";".join([_identifier(taxon), *names, _part(taxon.common_name) or _common_name(taxon)])


def label_of_kind(kind: Kind) -> str:
    """The label of a verdict that is no taxon.

    Raises:
        UsageError: for ``taxon``, whose label depends on which.
    """
    if kind not in _OF_KIND:
        raise UsageError(f"verdict {kind!r} has no label of its own; these have: {', '.join(_OF_KIND)}")
    return _OF_KIND[kind]


def kind_of_word(word: str) -> Kind | None:
    """The verdict that a label of somebody's own states: ``empty`` is a blank, ``Human`` a person; None for other words."""
    return _WORDS.get(" ".join(word.split()).lower())


def _common_name(taxon: Taxon) -> str:
    """What SpeciesNet calls a taxon without a common name: a species by its name, above it name and rank."""
    rank = taxon.rank
    if rank is None:
        return "unnamed"
    if rank is Rank.SPECIES or rank not in _RANKS:
        return _part(taxon.scientific_name)
    return f"{_part(taxon.scientific_name)} {'species' if rank is Rank.GENUS else rank.value}"


def _identifier(taxon: Taxon) -> str:
    try:
        return str(uuid.UUID(taxon.source_id))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, ";".join(taxon.lineage) if taxon.rank else f"label;{taxon.common_name}"))


def _part(text: str) -> str:
    """Text as one part of a label: no semicolon, no line ends, in lower case."""
    return " ".join(text.replace(";", " ").split()).lower()
