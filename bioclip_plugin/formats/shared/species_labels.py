"""SpeciesNet's labels, ``uuid;class;order;family;genus;species;common name``, made from taxa and verdicts.

A label is in lower case, without kingdom and phylum, and its species is the epithet. Five labels with fixed ids are verdicts
and not taxa of a classifier.
"""

from __future__ import annotations

import uuid
from typing import Literal

from bioclip_core.errors import UsageError
from bioclip_core.names import verdict_of_word
from bioclip_core.taxonomy import RANKS, Rank, Taxon

Kind = Literal["taxon", "unknown", "blank", "person", "vehicle"]

BLANK = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank"
ANIMAL = "1f689929-883d-4dae-958c-3d57ab5b6c16;;;;;;animal"
HUMAN = "990ae9dd-7a59-4344-afcb-1b7b21368000;mammalia;primates;hominidae;homo;sapiens;human"
VEHICLE = "e2895ed5-780b-48f6-8a11-9e27cb594511;;;;;;vehicle"
UNKNOWN = f"f2efdae9-efb8-48fb-8a91-eccf79ab4ffb{';no cv result' * 6}"
_OF_KIND: dict[Kind, str] = {"blank": BLANK, "person": HUMAN, "vehicle": VEHICLE, "unknown": UNKNOWN}

ANIMALS = Taxon(kingdom="Animalia")
PEOPLE = Taxon("Animalia", "", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens", "human")

# Base of our ids for taxa without an id of SpeciesNet: the same taxon gets the same one everywhere.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "bioclip-plugin.speciesnet-labels")
_RANKS = RANKS[2:]  # the ranks of a label


def taxonomy_of(taxon: Taxon) -> str:
    """Return ``class;order;family;genus;species`` in lower case, the key of a taxon in SpeciesNet's own tables.

    >>> taxonomy_of(Taxon("Animalia", "Chordata", "Mammalia", "Carnivora"))
    'mammalia;carnivora;;;'
    """
    return ";".join(taxon.lineage[2:]).lower()


def label_of(taxon: Taxon) -> str:
    """Return the label of a taxon, with its own id if that is a UUID, else one derived from the whole lineage.

    Animals as a whole and people get SpeciesNet's fixed labels.
    """
    if taxon.lineage == ANIMALS.lineage:
        return ANIMAL
    if taxonomy_of(taxon) == taxonomy_of(PEOPLE):
        return HUMAN
    return ";".join(
        [_identifier(taxon), *map(_part, taxon.lineage[2:]), _part(taxon.common_name) or _common_name(taxon)]
    )


def description_of(taxon: Taxon) -> str:
    """Return the seven parts ``id;class;order;family;genus;species;common`` as the tools of MegaDetector's format expect them.

    They read a space in the epithet as a subspecies, so a hybrid's mark has none after it; ``|`` separates alternatives.
    """
    parts = label_of(taxon).replace("|", "/").split(";")
    # An epithet without its genus does not name anything.
    parts[5] = parts[5].replace("× ", "×").replace(" ", "-") if parts[4] else ""
    return ";".join(parts)


def label_of_kind(kind: Kind) -> str:
    """Return the label of a verdict that is not a taxon.

    Raises:
        UsageError: for ``taxon``, whose label depends on the taxon.
    """
    if kind not in _OF_KIND:
        raise UsageError(f"verdict {kind!r}: only these have a label of their own: {', '.join(_OF_KIND)}")
    return _OF_KIND[kind]


def kind_of_word(word: str) -> Kind | None:
    """Return the verdict that a custom label means: ``empty`` is a blank, ``Human`` a person; None for other words."""
    if " ".join(word.split()).lower() == "homo sapiens":
        return "person"
    found = verdict_of_word(word) if word.strip() else None
    return found if found in ("blank", "person", "vehicle") else None


def _common_name(taxon: Taxon) -> str:
    """Return SpeciesNet's words for a taxon without a common name: the name of a species, name and rank of others."""
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
    """Return text as one part of a label: in lower case, without semicolons and line ends."""
    return " ".join(text.replace(";", " ").split()).lower()
