"""Cards of the gallery: the run's decision on a region in one word, and its agreement with reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_plugin.formats.shared.image_verdicts import is_below
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.media import Region
from bioclip_plugin.reviews.agreement import is_above, is_within
from bioclip_plugin.reviews.in_force import newest_statements
from bioclip_plugin.store.records import Review, StoredRegion

REPORT_VERDICTS = ("taxon", "unknown", "blank", "person", "vehicle", "unclassified")
"""``unclassified``: stored but not answered, because the box is below the threshold or of another category."""
AGREEMENTS = ("", "agrees", "less specific", "differs", "other")
"""Agreements of an answer with a review; ``less specific``: the answer is a group that the reviewer's taxon belongs to."""

_BEST_FIRST = ("agrees", "less specific", "other", "differs")


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision on a region: verdict, taxon, and the steps of the rules."""

    verdict: str
    candidate: Candidate | None
    trail: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One card of the gallery: a region, or an image in which a detector found nothing."""

    region: Region | None
    answer: Decided
    candidates: tuple[Candidate, ...]
    """The model's own best few, most probable first."""
    flags: tuple[str, ...]
    event: str | None
    reviews: tuple[Review, ...]
    """Reviews of its event, its image and the region itself; the last one counts."""
    agreement: str


def entry_of(stored: StoredRegion | None, reviews: Sequence[Review], level: str, threshold: float) -> Entry:
    """Return the card of a region; None is an image in which a detector found nothing."""
    answer = decided(stored, threshold) if stored else Decided("blank", None)
    return Entry(
        stored.region if stored else None,
        answer,
        tuple(stored.by_rank.get(level, ())) if stored else (),
        stored.flags if stored else (),
        stored.decision.event if stored and stored.decision else None,
        tuple(reviews),
        agreement(answer, reviews),
    )


def decided(stored: StoredRegion, threshold: float) -> Decided:
    """Return the rules' decision on a region; without rules, the model's consensus; nothing but blank below the threshold."""
    if is_below(stored, threshold) and (stored.decision is None or stored.decision.verdict != "blank"):
        return Decided("unclassified", None)
    if stored.decision is not None:
        return Decided(stored.decision.verdict, stored.decision.candidate, tuple(stored.decision.trail))
    if not stored.classified:
        kind = kind_of_category(stored.region.category) if stored.region else "animal"
        return Decided(kind if kind in ("person", "vehicle") else "unclassified", None)
    return Decided("unknown", None)


def agreement(answer: Decided, reviews: Sequence[Review]) -> str:
    """Return the agreement of an answer with the reviews of the region, else of its image, else of its event.

    The newest review counts. An image or event may hold several reviewed taxa at once; the answer may be any of them.
    """
    for kind in ("region", "media", "event") if reviews else ():
        newest = newest_statements([review for review in reviews if review.target.kind == kind])
        if newest:
            return min((_with_one(answer, review) for review in newest), key=_BEST_FIRST.index)
    return ""


def _with_one(answer: Decided, review: Review) -> str:
    if review.verdict != "taxon" or review.taxon is None:
        if review.verdict in ("unidentifiable", "not_in_label_set"):
            return "other"
        return "agrees" if review.verdict == answer.verdict else "differs"
    if answer.candidate is None:
        return "differs" if answer.verdict in ("blank", "person", "vehicle") else "other"
    given, reviewed = answer.candidate.taxon, review.taxon
    names = (reviewed.scientific_name.casefold(), reviewed.common_name.casefold())
    is_its_label = given.rank is None and answer.candidate.name.casefold() in names
    if is_its_label or is_within(given, reviewed):
        return "agrees"
    return "less specific" if is_above(given, reviewed) else "differs"
