"""Relation of two names of one organism through synonymy, by which second opinions are compared."""

from __future__ import annotations

from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.taxonomy.resolving import TaxonomyIndex

AGREE, SYNONYM, AGREE_AT_GENUS, CONFLICT, UNKNOWN = "agree", "synonym", "agree at genus", "conflict", "unknown"
RELATIONS = (AGREE, SYNONYM, AGREE_AT_GENUS, CONFLICT, UNKNOWN)


def relation(index: TaxonomyIndex, one: Taxon, other: Taxon) -> str:
    """Return one of ``RELATIONS``.

    ``agree``: the same name, or one is an ancestor of the other (a genus and its species). ``synonym``: other names of one
    accepted taxon. ``agree at genus``: two species of one genus. ``unknown``: the checklist does not resolve one of them.
    """
    if one.rank is None or other.rank is None:
        return UNKNOWN
    same_name = one.scientific_name.lower() == other.scientific_name.lower() and one.rank is other.rank
    if same_name and one.kingdom in ("", other.kingdom):
        return AGREE
    first, second = index.resolve(one), index.resolve(other)
    if first.taxon is None or second.taxon is None:
        return UNKNOWN
    if first.taxon_id == second.taxon_id:
        return SYNONYM
    if _contains(first.taxon, second.taxon) or _contains(second.taxon, first.taxon):
        return AGREE
    genus = first.taxon.truncated(Rank.GENUS).lineage
    return AGREE_AT_GENUS if genus[5] and genus == second.taxon.truncated(Rank.GENUS).lineage else CONFLICT


def _contains(higher: Taxon, lower: Taxon) -> bool:
    if higher.rank is None:
        return False
    below = higher.rank.depth + 1
    return any(lower.lineage[below:]) and higher.lineage[:below] == lower.lineage[:below]
