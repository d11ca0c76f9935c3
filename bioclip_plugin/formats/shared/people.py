"""The one rule for people: the regions and reviews that the report blurs, and that make an image not public."""

from __future__ import annotations

from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.store.records import Review, StoredRegion


def is_person(stored: StoredRegion, level: str) -> bool:
    """True if a detector, a rule or the model calls a region a person, however uncertain, also below the threshold.

    Args:
        stored: the region.
        level: the rank whose candidates the run gives.
    """
    if stored.region is not None and kind_of_category(stored.region.category) == "person":
        return True
    decision = stored.decision
    if decision is not None and decision.verdict == "person":
        return True
    candidates = (decision.candidate if decision else None, *stored.by_rank.get(level, ())[:1])
    return any(
        one is not None and (one.taxon.genus == "Homo" or kind_of_category(one.name) == "person") for one in candidates
    )


def says_person(review: Review) -> bool:
    """True if a reviewer saw a person."""
    return review.verdict == "person" or (review.taxon is not None and review.taxon.genus == "Homo")
