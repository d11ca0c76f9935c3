"""One pass over a run: what is chosen of it, counted, and kept for the gallery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from bioclip_core.classify import Candidate
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.report.decisions import Decided, agreement, decided
from bioclip_plugin.report.entries import Entry
from bioclip_plugin.report.figures import Figures
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.people import People, people_in
from bioclip_plugin.reviews.pairing import ABOUT, overlap
from bioclip_plugin.store.records import Review, Run, StoredItem, StoredRegion, asked_level

if TYPE_CHECKING:
    from bioclip_plugin.store import Store

_PAGE = 500  # items whose reviews are asked for at once


@dataclass(frozen=True, slots=True)
class Sheet:
    """One image of the gallery with its cards, and where people are in it."""

    item: MediaItem
    station: int
    """Number of its camera among the figures' stations."""
    entries: tuple[Entry, ...]
    people: People


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One image without an answer."""

    item: MediaItem
    failure: Failure


@dataclass(slots=True)
class Gathered:
    """What a report is made of."""

    run: Run
    level: str
    """The rank whose candidates the run gives."""
    figures: Figures
    sheets: list[Sheet] = field(default_factory=list)
    """The images of the gallery in listing order; the limit counts their entries."""
    failed: list[FailedItem] = field(default_factory=list)
    entries: int = 0
    """Of all sheets."""
    is_full: bool = False
    """Whether the limit was reached, and what came later is in the figures alone."""


def gather(store: Store, run: Run, options: ReportOptions) -> Gathered:
    """Go through a run once; only what the gallery shows stays in memory."""
    gathered = Gathered(run, asked_level(run), Figures())
    of_events: dict[str, list[Review]] = defaultdict(list)
    for review in store.reviews():
        if review.target.kind == "event":
            of_events[review.target.event or ""].append(review)
    items = store.items_of(run)
    while page := list(islice(items, _PAGE)):
        of_media = store.reviews_of([(stored.item.uri, stored.item.frame) for stored in page])
        for stored in page:
            chosen = options.selection.of(stored) if options.selection else stored
            if chosen is not None:
                about = sorted(of_media.get((stored.item.uri, stored.item.frame), ()), key=_of_region)
                known = [review for name in _events(stored) for review in of_events.get(name, ())] + about
                _add(gathered, chosen, stored.regions, known, options)
    return gathered


def _events(stored: StoredItem) -> list[str]:
    """The names of the events that an image belongs to: its own sequence, and those that a rule made."""
    made = [region.decision.event for region in stored.regions if region.decision is not None]
    return list(dict.fromkeys(name for name in (stored.item.sequence, *made) if name))


def _of_region(review: Review) -> bool:
    return review.target.kind == "region"


def _add(
    gathered: Gathered,
    stored: StoredItem,
    regions: Sequence[StoredRegion],
    reviews: Sequence[Review],
    options: ReportOptions,
) -> None:
    """Count one chosen item and keep it for the gallery while there is room.

    Args:
        regions: all of the image's, also those that were not chosen: whoever is in one of them is blurred.
        reviews: of its event, then of the image, then of its regions; each oldest first.
    """
    figures = gathered.figures
    if stored.failure is not None or stored.status != "done":
        figures.add_unanswered(stored)
        if stored.failure is not None and len(gathered.failed) < options.limit:
            gathered.failed.append(FailedItem(stored.item, stored.failure))
        return
    entries = tuple(_entries(stored, reviews, gathered.level))
    station = figures.add(stored.item, entries)
    if gathered.entries + len(entries) <= options.limit and not gathered.is_full:
        people = People() if options.show_people else people_in(regions, reviews, gathered.level)
        gathered.sheets.append(Sheet(stored.item, station, entries, people))
        gathered.entries += len(entries)
    else:
        gathered.is_full = True


def _entries(stored: StoredItem, reviews: Sequence[Review], level: str) -> Iterator[Entry]:
    if not stored.regions:
        answer = Decided("blank", None)
        yield _entry(None, answer, (), None, reviews)
    for one in stored.regions:
        about = [review for review in reviews if _is_about(review, one)]
        yield _entry(one, decided(one), tuple(one.by_rank.get(level, ())), one.region, about)


def _entry(
    stored: StoredRegion | None,
    answer: Decided,
    candidates: tuple[Candidate, ...],
    region: Region | None,
    reviews: Sequence[Review],
) -> Entry:
    event = stored.decision.event if stored and stored.decision else None
    flags = stored.flags if stored else ()
    said = agreement(answer, reviews)
    return Entry(region, answer, candidates, flags, event, tuple(reviews), said)


def _is_about(review: Review, stored: StoredRegion) -> bool:
    """Reviews of a region are of a box that lies about there; of the image and the event, of every region in it."""
    if review.target.kind != "region":
        return True
    said, ours = review.target.region, stored.region
    return said is ours if said is None or ours is None else overlap(said, ours) >= ABOUT
