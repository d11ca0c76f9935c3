"""What a run says of a region in one word, and whether a person said the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_plugin.store.records import Review, StoredRegion

VERDICTS = ("taxon", "unknown", "blank", "person", "vehicle", "unclassified")
"""``unclassified``: kept and not named, because its box is below the threshold or of another kind."""
AGREEMENTS = ("", "agrees", "less specific", "differs", "other")
"""Of a run's answer with a review; ``less specific``: the answer is a group that the reviewer's taxon belongs to."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict on a region, its taxon, and what rules did."""

    verdict: str
    candidate: Candidate | None
    trail: tuple[Mapping[str, Any], ...] = ()


def decided(stored: StoredRegion) -> Decided:
    """What the run's rules made of a region; the model's consensus where no rule had a say."""
    region = stored.region
    if not stored.classified and stored.decision is None:
        category = region.category.strip().casefold() if region else ""
        return Decided(
            {"human": "person", "person": "person", "vehicle": "vehicle"}.get(category, "unclassified"), None
        )
    if stored.decision is not None:
        decision = stored.decision
        return Decided(decision.verdict, decision.candidate, tuple(decision.trail))
    return Decided("taxon" if stored.consensus else "unknown", stored.consensus)


def agreement(answer: Decided, review: Review) -> str:
    """How an answer stands to what a person said: one of ``AGREEMENTS``."""
    if review.verdict != "taxon" or review.taxon is None:
        if review.verdict in ("unidentifiable", "not_in_label_set"):
            return "other"
        return "agrees" if review.verdict == answer.verdict else "differs"
    if answer.candidate is None:
        return "differs" if answer.verdict in ("blank", "person", "vehicle") else "other"
    given, said = answer.candidate.taxon, review.taxon
    if answer.candidate.name.casefold() in (said.scientific_name.casefold(), said.common_name.casefold()):
        return "agrees"
    rank = given.rank
    if rank is not None and said.name_at(rank).casefold() == given.scientific_name.casefold():
        return "less specific" if said.rank is not None and said.rank.depth > rank.depth else "agrees"
    return "differs"
