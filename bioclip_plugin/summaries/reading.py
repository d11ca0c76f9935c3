"""Sightings, deployments and reviews of a run, read from its store in one pass."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import numpy as np

from bioclip_core.findings import Findings
from bioclip_core.images.boxes import ABOUT
from bioclip_core.progress import Progress, silent
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.run_deployments import deployments_of
from bioclip_plugin.formats.shared.image_verdicts import threshold_of
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.deployments import DeploymentRow
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.metadata import is_time_lapse
from bioclip_plugin.report.decisions import decided
from bioclip_plugin.reviews.in_force import newest_statements
from bioclip_plugin.reviews.pairing import events_of, overlap, reviews_of_events
from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion
from bioclip_plugin.store.records import asked_level
from bioclip_plugin.summaries.effort import Stated
from bioclip_plugin.summaries.sightings import (
    BLANK,
    KINDS,
    NO_TIME,
    PERSON,
    TAXON,
    UNANSWERED,
    UNKNOWN,
    VEHICLE,
    Sightings,
)

TIME_LAPSE = "regions of time-lapse images count like those of images that an animal triggered"
_PAGE = 500  # items whose reviews are read in one query
REVIEWED_AS: dict[str, int] = {
    "taxon": TAXON, "blank": BLANK, "person": PERSON, "vehicle": VEHICLE, "unidentifiable": UNKNOWN, "not_in_label_set": UNKNOWN,
}  # fmt: skip
"""Kind of result by the verdict of a review."""
Name = tuple[int, Taxon | None]
"""Kind of result and taxon."""


@dataclass(slots=True)
class ReadRun:
    """What the figures of a run are made of."""

    sightings: Sightings
    stated: dict[str, Stated]
    """Start and end of the deployments of its table, by name."""
    reviews: list[Review]
    """All reviews of its images, boxes and events."""
    findings: Findings = field(default_factory=Findings)


class _Rows:
    """The columns of sightings while they grow."""

    def __init__(self) -> None:
        self.taxa: dict[Taxon, int] = {}
        self.cameras: dict[str, int] = {}
        self.events: dict[str, int] = {}
        self._numbers = {
            name: array("q") for name in ("media", "kind", "taxon", "camera", "event", "moment", "reviewed")
        }
        self._media, self._last = 0, ""

    def begin(self, item: MediaItem) -> None:
        """Begin an image; the frames of one video are one image."""
        if item.uri != self._last or "video_seconds" not in item.metadata:
            self._media += 1
        self._last = item.uri
        self._camera = self.cameras.setdefault(item.deployment, len(self.cameras)) if item.deployment else -1
        self._moment = seconds_of(item.captured_at)

    def add(self, name: Name, event: str | None, *, reviewed: bool = False) -> None:
        """Add a sighting in the image."""
        kind, taxon = name
        if taxon is not None and taxon.genus == "Homo":
            kind, taxon = PERSON, None
        place = self.taxa.setdefault(taxon, len(self.taxa)) if taxon is not None else -1
        number = self.events.setdefault(event, len(self.events)) if event else -1
        values = (self._media, kind, place, self._camera, number, self._moment, int(reviewed))
        for column, value in zip(self._numbers.values(), values, strict=True):
            column.append(value)

    def sightings(self) -> Sightings:
        media, kind, taxon, camera, event, moment, reviewed = (
            np.array(column, dtype=np.int64) for column in self._numbers.values()
        )
        return Sightings(
            media, kind.astype(np.int8), taxon.astype(np.int32), camera.astype(np.int32), event.astype(np.int32), moment,
            reviewed.astype(np.bool_), tuple(self.taxa), tuple(self.cameras),
        )  # fmt: skip


def read_run(store: Store, run: Run, options: DeploymentOptions, progress: Progress = silent) -> ReadRun:
    """Read a run once.

    A reviewer's name goes before the run's decision: that of a box before that of its image, and that before that of its event.
    A review of an image or event with several taxa gives one sighting per taxon; a box that only a reviewer drew gives one too.

    Args:
        store: the store.
        run: the run.
        options: which deployment an image belongs to; without any, as the run began.
        progress: called with the number of images read.

    Raises:
        DataError: for a table of deployments that was given and cannot be used.
    """
    findings, rows = Findings(), _Rows()
    deployments = deployments_of(store, run, options, findings)
    deployments.survey(findings)
    of_events, total = reviews_of_events(store), store.summary(run).listed
    threshold, done = threshold_of(run), 0
    kept: dict[int, Review] = {}
    items = store.items_of(run, ranks=(asked_level(run),))
    while page := list(islice(items, _PAGE)):
        of_media = store.reviews_of([(stored.item.uri, stored.item.frame) for stored in page])
        for stored in page:
            reviews = of_media.get((stored.item.uri, stored.item.frame), [])
            events = [review for name in events_of(stored) for review in of_events.get(name, ())]
            kept.update({review.id: review for review in (*reviews, *events)})
            rows.begin(deployments.completed(stored.item))
            for name, event, reviewed in final_names(stored, reviews, events, threshold):
                rows.add(name, event, reviewed=reviewed)
                if name[0] == TAXON and is_time_lapse(stored.item):
                    findings.add(TIME_LAPSE, stored.item.uri)
        done += len(page)
        progress(done, total)
    return ReadRun(rows.sightings(), stated_in(deployments), list(kept.values()), findings)


def stated_in(deployments: Deployments | None) -> dict[str, Stated]:
    """Return start and end of the rows of a table of deployments, by name; nothing without a table."""
    table = deployments.table if deployments else None
    return {row.name: _stated(row) for row in (table.rows if table else ())}


def seconds_of(moment: datetime | None) -> int:
    """Return a time on the wall clock in seconds since 1970, whatever its offset; NO_TIME for None.

    >>> seconds_of(datetime.fromisoformat("1970-01-02T00:00:00+09:00"))
    86400
    """
    return NO_TIME if moment is None else int(moment.replace(tzinfo=UTC).timestamp() // 1)


def _stated(row: DeploymentRow) -> Stated:
    return Stated(*(None if end is None else seconds_of(end) for end in (row.starts, row.ends)))


def final_names(
    stored: StoredItem, reviews: Sequence[Review], of_events: Sequence[Review], threshold: float
) -> Iterator[tuple[Name, str | None, bool]]:
    """Yield the final names in an image, each with its event and whether it is a reviewer's.

    Args:
        stored: the image with its results.
        reviews: of the image and its boxes.
        of_events: of its events.
        threshold: the confidence from which boxes of the run's detector count.
    """
    item_event = stored.item.sequence
    if (stored.failure is not None or stored.status != "done") and not (reviews or of_events):
        yield (UNANSWERED, None), item_event, False
        return
    about = [_about(review, stored.regions) for review in reviews]
    image = newest_statements([one for one, place in zip(reviews, about, strict=True) if place is None])
    image = image or newest_statements(of_events)
    events = [region.decision.event if region.decision else None for region in stored.regions]
    event = next(filter(None, events), None) or item_event
    given: list[tuple[Name, str | None, bool]] = []
    of_whole = not any(at is not None for at in about)
    for place, region in enumerate(stored.regions):
        name = _of_run(region, threshold)
        if own := newest_statements([one for one, at in zip(reviews, about, strict=True) if at == place]):
            given += ((_of_review(one), events[place] or event, True) for one in own)
        elif not image or (name[0] in (PERSON, VEHICLE) and image[0].verdict != "blank"):
            given.append((name, events[place] or event, False))
        else:
            of_whole = True  # the review of the image stands for the regions that nobody reviewed
    drawn = [one for one, at in zip(reviews, about, strict=True) if at == _ELSEWHERE]
    given += ((_of_review(one), event, True) for one in (*drawn, *(image if of_whole else ())))
    yield from given or [((BLANK, None), event, False)]


_ELSEWHERE = -1


def _about(review: Review, regions: Sequence[StoredRegion]) -> int | None:
    """Return the place of the region that a review is about; None for the whole image, _ELSEWHERE for a box of the reviewer's own."""
    drawn = review.target.region
    if review.target.kind != "region" or drawn is None:
        return None
    found = [(overlap(drawn, one.region), place) for place, one in enumerate(regions) if one.region is not None]
    best = max(found, default=(0.0, _ELSEWHERE))
    return best[1] if best[0] >= ABOUT else _ELSEWHERE


def _of_review(review: Review) -> Name:
    return REVIEWED_AS[review.verdict], review.taxon if review.verdict == "taxon" else None


def _of_run(region: StoredRegion, threshold: float) -> Name:
    found = decided(region, threshold)
    taxon = found.candidate.taxon if found.candidate is not None and found.verdict == "taxon" else None
    return KINDS.index(found.verdict), taxon
