"""How two names of one organism stand to each other through synonymy: what a second opinion is compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioclip_core.taxonomy import RANKS, Rank, Taxon

if TYPE_CHECKING:
    from bioclip_training.taxonomy.index import TaxonomyIndex

AGREE, SYNONYM, AGREE_AT_GENUS, CONFLICT, UNKNOWN = "agree", "synonym", "agree at genus", "conflict", "unknown"
RELATIONS = (AGREE, SYNONYM, AGREE_AT_GENUS, CONFLICT, UNKNOWN)


def relation(index: TaxonomyIndex, one: Taxon, other: Taxon) -> str:
    """One of ``RELATIONS``.

    ``agree``: the same name, or one is an ancestor of the other (a genus and its species). ``synonym``: other names of one
    accepted taxon. ``agree at genus``: two species of one genus. ``unknown``: the checklist cannot say what one of them is.
    """
    if one.rank is None or other.rank is None:
        return UNKNOWN
    if _name(one) == _name(other) and one.kingdom in ("", other.kingdom):
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


def _name(taxon: Taxon) -> tuple[str, str]:
    return (taxon.rank or "", taxon.scientific_name.lower())


def _contains(higher: Taxon, lower: Taxon) -> bool:
    rank = higher.rank
    if rank is None or lower.rank is None or rank.depth >= lower.rank.depth:
        return False
    return all(higher.lineage[r.depth] == lower.lineage[r.depth] for r in RANKS[: rank.depth + 1])
