"""Reviewed images and boxes beside what a run decided on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.reviews.boxes import ABOUT, overlap
from bioclip_plugin.store.records import asked_level

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion

BLANK, UNKNOWN = "blank", "unknown"
_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing that a person named, and what the run made of it."""

    verdict: ReviewVerdict
    taxon: Taxon | None
    """What the person said, where it is a taxon."""
    answer: str
    """``taxon``, ``unknown``, ``blank``, ``person`` or ``vehicle``."""
    decided: Candidate | None
    """The taxon that was decided on."""
    candidates: tuple[Candidate, ...]
    """The model's own, most probable first, at the rank that the run was asked for."""
    group: str
    """The event, or the image: pairs of one group are no independent observations."""


@dataclass(slots=True)
class LeftOut:
    """Reviews that say nothing for or against the run, by why."""

    counts: Counter[str] = field(default_factory=Counter)

    SEVERAL = "name several taxa at once"
    NO_BOX = "of boxes that the run does not have"
    NOT_DONE = "of images that failed or are still to do"
    EVENTS = "of events (count their images with --events)"


def newest_statements(reviews: Sequence[Review]) -> list[Review]:
    """What the newest reviewer said last: several reviews where an image was said to hold several taxa at one moment."""
    if not reviews:
        return []
    last = max(reviews, key=lambda review: (review.reviewed_at, review.id))
    same = [one for one in reviews if one.reviewed_at == last.reviewed_at and one.reviewer == last.reviewer]
    return list({(one.verdict, one.taxon): one for one in same}.values())


def pairs_of(store: Store, run: Run, left_out: LeftOut, *, events: bool = False) -> Iterator[Pair]:
    """Every reviewed image or box of a run with the run's decision, in listing order.

    A box counts by the run's box that overlaps it most (by half at least). A review of a whole image counts where none of its
    boxes was reviewed, against the most probable decision in it; that a detector found nothing is the answer "blank".

    Args:
        left_out: learns what was not used.
        events: whether an event's review also counts for each of its images that nobody reviewed.
    """
    of_events: dict[str, list[Review]] = {}
    for review in store.reviews():
        if review.target.kind == "event" and review.target.event:
            of_events.setdefault(review.target.event, []).append(review)
    if of_events and not events:
        left_out.counts[LeftOut.EVENTS] += sum(len(newest_statements(said)) for said in of_events.values())
    items = store.items_of(run, ranks=(asked_level(run),))
    while together := list(islice(items, _TOGETHER)):
        reviews = store.reviews_of([(stored.item.uri, stored.item.frame) for stored in together])
        for stored in together:
            said = reviews.get((stored.item.uri, stored.item.frame), [])
            if not said and events:
                said = _of_event(stored, of_events)
            if said:
                yield from _pairs(stored, said, left_out)


def _of_event(stored: StoredItem, of_events: dict[str, list[Review]]) -> list[Review]:
    names = [stored.item.sequence, *(region.decision.event for region in stored.regions if region.decision)]
    return next((of_events[name] for name in names if name and name in of_events), [])


def _pairs(stored: StoredItem, reviews: Sequence[Review], left_out: LeftOut) -> Iterator[Pair]:
    if stored.status != "done":
        left_out.counts[LeftOut.NOT_DONE] += 1
        return
    by_box: dict[tuple[int, int, int, int], list[Review]] = {}
    whole: list[Review] = []
    for review in reviews:
        box = review.target.region
        (by_box.setdefault(box.box, []) if box is not None else whole).append(review)
    for said in by_box.values():
        region = _region_of(said[0], stored)
        yield from _pair(said, region, stored, left_out)
    if whole and not by_box:
        yield from _pair(whole, _best_region(stored), stored, left_out)


def _region_of(review: Review, stored: StoredItem) -> StoredRegion | None:
    drawn = review.target.region
    boxes = [region for region in stored.regions if region.region is not None]
    if drawn is None or not boxes:
        # Where the run answered for the whole image there is one animal to speak of, wherever it is.
        return next((region for region in stored.regions if region.region is None), None)
    best = max(boxes, key=lambda region: overlap(drawn, region.region or drawn))
    return best if best.region is not None and overlap(drawn, best.region) >= ABOUT else None


def _best_region(stored: StoredItem) -> StoredRegion | None:
    """The region that speaks for the image: of the classified ones the most probable decision, else the surest detection."""
    classified = [region for region in stored.regions if region.classified]
    if classified:
        return max(classified, key=lambda region: region.consensus.probability if region.consensus else 0.0)
    return max(stored.regions, key=lambda region: (region.region and region.region.confidence) or 0.0, default=None)


def _pair(
    reviews: Sequence[Review], region: StoredRegion | None, stored: StoredItem, left_out: LeftOut
) -> Iterator[Pair]:
    said = newest_statements(reviews)
    if len(said) > 1:
        left_out.counts[LeftOut.SEVERAL] += 1
        return
    (review,) = said
    group = stored.item.sequence or f"{stored.item.uri}#{stored.item.frame}"
    if region is None:
        if stored.regions:
            left_out.counts[LeftOut.NO_BOX] += 1
        else:
            yield Pair(review.verdict, review.taxon, BLANK, None, (), group)
        return
    decision = region.decision
    answer: str = decision.verdict if decision else UNKNOWN
    if decision is None and region.region is not None and region.region.category in ("person", "vehicle"):
        answer = region.region.category
    if decision and decision.event:
        group = decision.event
    candidates = next(iter(region.by_rank.values()), ())
    yield Pair(review.verdict, review.taxon, answer, region.consensus, tuple(candidates), group)
