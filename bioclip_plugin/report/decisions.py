"""What a run says of a region in one word, and whether a person said the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_plugin.reviews.agreement import is_above, is_within
from bioclip_plugin.reviews.pairing import newest_statements
from bioclip_plugin.store.records import Review, StoredRegion

REPORT_VERDICTS = ("taxon", "unknown", "blank", "person", "vehicle", "unclassified")
"""``unclassified``: kept and not named, because its box is below the threshold or of another kind."""
AGREEMENTS = ("", "agrees", "less specific", "differs", "other")
"""Of a run's answer with a review; ``less specific``: the answer is a group that the reviewer's taxon belongs to."""

_BEST_FIRST = ("agrees", "less specific", "other", "differs")


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


def agreement(answer: Decided, reviews: Sequence[Review]) -> str:
    """How an answer stands to what people said of the region, else of its image, else of its event: one of ``AGREEMENTS``.

    What was said last counts. An image or event may be said to hold several taxa at once; the answer may be any of them.
    """
    for kind in ("region", "media", "event"):
        said = newest_statements([review for review in reviews if review.target.kind == kind])
        if said:
            return min((_with_one(answer, review) for review in said), key=_BEST_FIRST.index)
    return ""


def _with_one(answer: Decided, review: Review) -> str:
    if review.verdict != "taxon" or review.taxon is None:
        if review.verdict in ("unidentifiable", "not_in_label_set"):
            return "other"
        return "agrees" if review.verdict == answer.verdict else "differs"
    if answer.candidate is None:
        return "differs" if answer.verdict in ("blank", "person", "vehicle") else "other"
    given, said = answer.candidate.taxon, review.taxon
    is_its_label = given.rank is None and answer.candidate.name.casefold() in (
        said.scientific_name.casefold(),
        said.common_name.casefold(),
    )
    if is_its_label or is_within(given, said):
        return "agrees"
    return "less specific" if is_above(given, said) else "differs"
