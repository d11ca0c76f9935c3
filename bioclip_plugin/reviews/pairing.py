"""Reviewed images and boxes beside what a run decided on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from bioclip_core.classify import Candidate
from bioclip_core.images import boxes
from bioclip_core.images.boxes import ABOUT, SAME
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.shared.image_verdicts import is_below, threshold_of
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.reviews.in_force import newest_statements
from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion
from bioclip_plugin.store.records import asked_level

_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Pair:
    """One subject of a review, and the run's decision on it."""

    verdict: ReviewVerdict
    taxon: Taxon | None
    """The reviewed taxon, if the verdict is one."""
    answer: str
    """``taxon``, ``unknown``, ``blank``, ``person`` or ``vehicle``."""
    decided: Candidate | None
    """The taxon that was decided on."""
    candidates: tuple[Candidate, ...]
    """The model's own candidates, most probable first, at the run's requested rank."""
    group: str
    """The event, or the image: pairs of one group are not independent observations."""


@dataclass(slots=True)
class LeftOut:
    """Counts of skipped reviews, which say nothing for or against the run, by reason."""

    counts: Counter[str] = field(default_factory=Counter)

    SEVERAL = "name several taxa at once"
    NO_BOX = "of boxes that the run does not have"
    NOT_DONE = "of images that failed or are still to do"
    EVENTS = "of events (count their images with --events)"


def overlap(one: Region, other: Region) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    return boxes.overlap((one.x, one.y, one.w, one.h), (other.x, other.y, other.w, other.h))


def same_box(wanted: Region, known: Iterable[Region | None], at_least: float = SAME) -> Region | None:
    """Return the known region that overlaps a box most, None if none overlaps it enough."""
    drawn = (region for region in known if region is not None)
    best = max(drawn, key=lambda region: (overlap(wanted, region), region.detector != ""), default=None)
    return best if best is not None and overlap(wanted, best) >= at_least else None


def reviews_of_events(store: Store) -> dict[str, list[Review]]:
    """Return the reviews of whole events by the events' names, oldest first."""
    found: dict[str, list[Review]] = {}
    for review in store.reviews():
        if review.target.kind == "event" and review.target.event:
            found.setdefault(review.target.event, []).append(review)
    return found


def events_of(stored: StoredItem) -> list[str]:
    """Return the names of the events that an image belongs to: its own sequence, and those that a rule made."""
    made = [region.decision.event for region in stored.regions if region.decision is not None]
    return list(dict.fromkeys(name for name in (stored.item.sequence, *made) if name))


def pairs_of(store: Store, run: Run, left_out: LeftOut, *, events: bool = False) -> Iterator[Pair]:
    """Yield every reviewed image or box of a run with the run's decision, in listing order.

    A box counts by the run's box that overlaps it most (by half at least). A review of a whole image counts if none of its
    boxes was reviewed, against the most probable decision in it; an image without a box from the detection threshold on has the
    answer "blank", as in exports.

    Args:
        left_out: collects the skipped reviews.
        events: True to count an event's review also for each of its images without a review.
    """
    of_events = reviews_of_events(store)
    if of_events and not events:
        left_out.counts[LeftOut.EVENTS] += sum(len(newest_statements(reviews)) for reviews in of_events.values())
    items = store.reviewed_items(run, of_events if events else (), ranks=(asked_level(run),))
    while together := list(islice(items, _TOGETHER)):
        of_media = store.reviews_of([(stored.item.uri, stored.item.frame) for stored in together])
        for stored in together:
            reviews = of_media.get((stored.item.uri, stored.item.frame), [])
            if not reviews and events:
                reviews = next((of_events[name] for name in events_of(stored) if name in of_events), [])
            if reviews:
                yield from _pairs(stored, reviews, left_out, threshold_of(run))


def _pairs(stored: StoredItem, reviews: Sequence[Review], left_out: LeftOut, threshold: float) -> Iterator[Pair]:
    if stored.status != "done":
        left_out.counts[LeftOut.NOT_DONE] += 1
        return
    by_box: dict[tuple[int, int, int, int], list[Review]] = {}
    whole: list[Review] = []
    for review in reviews:
        box = review.target.region
        (by_box.setdefault(box.box, []) if box is not None else whole).append(review)
    for of_box in by_box.values():
        yield from _pair(of_box, _region_of(of_box[0], stored), stored, left_out, threshold)
    if whole and not by_box:
        counted = stored._replace(regions=[one for one in stored.regions if not is_below(one, threshold)])
        yield from _pair(whole, _best_region(counted), counted, left_out, threshold)


def _region_of(review: Review, stored: StoredItem) -> StoredRegion | None:
    drawn = review.target.region
    boxes = [region.region for region in stored.regions]
    found = same_box(drawn, boxes, ABOUT) if drawn is not None else None
    # A run that answered for the whole image answered for its one animal, wherever that is.
    if drawn is not None and found is None and any(box is not None for box in boxes):
        return None
    return next((region for region in stored.regions if region.region is found), None)


def _best_region(stored: StoredItem) -> StoredRegion | None:
    """Return the region for a review of the image: the most probable decision, else the most confident detection."""
    classified = [region for region in stored.regions if region.classified]
    if classified:
        return max(classified, key=lambda region: region.consensus.probability if region.consensus else 0.0)
    return max(stored.regions, key=lambda region: (region.region and region.region.confidence) or 0.0, default=None)


def _pair(
    reviews: Sequence[Review], region: StoredRegion | None, stored: StoredItem, left_out: LeftOut, threshold: float
) -> Iterator[Pair]:
    newest = newest_statements(reviews)
    if len(newest) > 1 or (region is None and stored.regions):
        left_out.counts[LeftOut.SEVERAL if len(newest) > 1 else LeftOut.NO_BOX] += 1
        return
    review, decision = newest[0], region.decision if region else None
    group = (decision and decision.event) or stored.item.sequence or f"{stored.item.uri}#{stored.item.frame}"
    if region is None or is_below(region, threshold):
        yield Pair(review.verdict, review.taxon, "blank", None, (), group)
        return
    answer: str = decision.verdict if decision else "unknown"
    if decision is None and region.region is not None and not region.classified:
        kind = kind_of_category(region.region.category)
        answer = kind if kind in ("person", "vehicle") else answer
    yield Pair(
        review.verdict, review.taxon, answer, region.consensus, tuple(next(iter(region.by_rank.values()), ())), group
    )
