"""One pass over a run: its selected items are counted, and kept for the gallery while there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from bioclip_core.findings import Findings
from bioclip_core.images.boxes import ABOUT
from bioclip_plugin.contracts.run_deployments import deployments_of
from bioclip_plugin.formats.shared.image_verdicts import threshold_of
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.report.decisions import Entry, entry_of
from bioclip_plugin.report.figures import Figures
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.people import People, people_in
from bioclip_plugin.reviews.pairing import events_of, overlap, reviews_of_events
from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion
from bioclip_plugin.store.records import asked_level

_PAGE = 500  # items whose reviews are read in one query


@dataclass(frozen=True, slots=True)
class Sheet:
    """One image of the gallery with its cards and the places of people in it."""

    item: MediaItem
    station: int
    """Number of its camera among the figures' stations."""
    entries: tuple[Entry, ...]
    people: People


@dataclass(slots=True)
class Gathered:
    """The content of a report."""

    run: Run
    level: str
    """The rank whose candidates the run gives."""
    figures: Figures
    sheets: list[Sheet] = field(default_factory=list)
    """The images of the gallery in listing order; the limit counts their entries."""
    failed: list[tuple[MediaItem, Failure]] = field(default_factory=list)
    """Images without an answer."""
    entries: int = 0
    """Number of entries of all sheets."""
    findings: Findings = field(default_factory=Findings)
    """Images without a deployment, doubtful times, and the like."""
    is_full: bool = False
    """True if the limit was reached, so that later entries are in the figures alone."""


def gather(store: Store, run: Run, options: ReportOptions) -> Gathered:
    """Read a run once; only the content of the gallery stays in memory."""
    gathered = Gathered(run, asked_level(run), Figures())
    deployments = deployments_of(store, run, options.deployments, gathered.findings)
    deployments.survey(gathered.findings)
    of_events = reviews_of_events(store)
    # Candidates of the other levels stay in the store, unless a selection may depend on them.
    items = store.items_of(run, ranks=None if options.selection else (gathered.level,))
    while page := list(islice(items, _PAGE)):
        of_media = store.reviews_of([(stored.item.uri, stored.item.frame) for stored in page])
        for listed in page:
            stored = listed._replace(item=deployments.completed(listed.item))
            chosen = options.selection.of(stored) if options.selection else stored
            if chosen is not None:
                reviews = [review for name in events_of(stored) for review in of_events.get(name, ())]
                # Stable: first the reviews of the whole image, then those of its regions, each oldest first.
                reviews += sorted(
                    of_media.get((stored.item.uri, stored.item.frame), ()),
                    key=lambda review: review.target.kind == "region",
                )
                _add(gathered, chosen, stored.regions, reviews, options)
    return gathered


def _add(
    gathered: Gathered,
    stored: StoredItem,
    regions: Sequence[StoredRegion],
    reviews: Sequence[Review],
    options: ReportOptions,
) -> None:
    """Count one selected item and keep it for the gallery while there is room.

    Args:
        regions: all regions of the image, also those that were not selected: a person in any of them is blurred.
        reviews: of its event, then of the image, then of its regions; each oldest first.
    """
    if stored.failure is not None or stored.status != "done":
        gathered.figures.add_unanswered(stored)
        if stored.failure is not None and len(gathered.failed) < options.limit:
            gathered.failed.append((stored.item, stored.failure))
        return
    entries = tuple(
        entry_of(
            region,
            [review for review in reviews if region is None or _is_about(review, region)],
            gathered.level,
            threshold_of(gathered.run),
        )
        for region in stored.regions or (None,)
    )
    station = gathered.figures.add(stored.item, entries)
    if gathered.entries + len(entries) <= options.limit and not gathered.is_full:
        people = People() if options.show_people else people_in(regions, reviews, gathered.level)
        gathered.sheets.append(Sheet(stored.item, station, entries, people))
        gathered.entries += len(entries)
    else:
        gathered.is_full = True


def _is_about(review: Review, stored: StoredRegion) -> bool:
    """Return True if a review of a region overlaps the region; a review of an image or event is about all its regions."""
    if review.target.kind != "region":
        return True
    drawn, found = review.target.region, stored.region
    return drawn is found if drawn is None or found is None else overlap(drawn, found) >= ABOUT
