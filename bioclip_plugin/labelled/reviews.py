"""Reviews as labelled items for a catalog: the newest review of each image, box or event, and what is not a taxon as its opposite."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError
from bioclip_core.files.moved import MovedNames
from bioclip_core.files.present import exists
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import MediaItem, Region, path_of
from bioclip_plugin.items.web import is_web_address
from bioclip_plugin.reviews.pairing import reviews_of_events
from bioclip_plugin.store import Review, Store
from bioclip_plugin.store.records import MediaName
from bioclip_training.catalog.evidence import Evidence, Standing, reviewed
from bioclip_training.catalog.naming.names import NAME_COLUMNS
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import SkippedRow

_NO_TABLE = "tables of deployments of a run cannot be used, so the deployments in them are unknown"
_AUDITED = "audit sample"
_NOT_TRAINED_ON = "it is in the audit sample, on which models are measured and never trained"
_LEFT_OUT = "reviews of the audit sample are left out, since models are measured on it and never trained"
_SEVERAL = "several taxa at once"
_ON_THE_WEB = "the image is on the web; a catalog needs files: download it, and name its folder with --replace-prefix"


@dataclass(frozen=True, slots=True)
class _Place:
    """The store as a source, and its images on this machine."""

    source: str
    deployments: Deployments
    moved: MovedNames | None
    contents: dict[MediaName, str] = field(default_factory=dict)
    """Sha256 of the images' bytes as they were when they were classified."""
    audited: frozenset[MediaName] = frozenset()
    """The images of the audit sample."""
    findings: Findings | None = None
    """Filled with reviews of the audit sample; None in the second reading of a catalog's sources."""

    def path_of(self, uri: str) -> Path:
        new = self.moved.new_name(uri) if self.moved else None
        return path_of(uri if new is None else new)


def review_items(address: str, source: str, options: ListingOptions) -> Iterator[LabelledItem | SkippedRow]:
    """Yield the reviews of a store that are one taxon, and the others as skipped rows that take away the label of their image.

    The newest review counts, and one by a named person before one without a name. Reviews of one moment by several people are
    all given. An event's review labels each of its images without a review, unless a detector found nothing in it: every box of an
    animal, or the whole image if no detector ran. An event of several taxa says nothing about one of its images;
    an image of several taxa has no label. Images of the audit sample are skipped, and lose the label of another source.

    Args:
        address: the store.
        source: the name of the source.
        options: the beginnings of file names to replace, and the findings: of a table of deployments that is gone.

    Raises:
        StoreError: if the store cannot be opened.
    """
    with Store.open(address, create=False) as store:
        prefixes = options.prefixes
        place = _Place(
            source,
            _deployments_of(store, options.findings),
            MovedNames(prefixes, Path()) if prefixes else None,
            audited=frozenset((one.uri, one.frame) for one in store.audit_items()),
            findings=None if options.findings.count(_LEFT_OUT) else options.findings,
        )
        of_images: dict[MediaName, dict[Any, list[Review]]] = {}
        for review in store.reviews():
            target = review.target
            if target.kind != "event":
                by_box = of_images.setdefault((str(target.uri), target.frame), {})
                by_box.setdefault(target.region and target.region.box, []).append(review)
        media = store.items_named(of_images.keys())
        place.contents.update(store.contents_of(of_images.keys()))
        for image in sorted(of_images):
            newest = [said for reviews in of_images[image].values() for said in _last_of_each(reviews)]
            for reviews in sorted(newest, key=lambda reviews: reviews[0].id):
                yield _item(reviews, image, reviews[0].target.region, media.get(image), place)
        of_events = {event: _last_of_each(reviews) for event, reviews in reviews_of_events(store).items()}
        yield from _event_items(store, of_events, of_images.keys(), place)


def _last_of_each(reviews: Sequence[Review]) -> list[list[Review]]:
    """Return the newest reviews of one subject: one list per person who reviewed it at the last moment.

    Reviews without the name of a person count only if there are no others.
    """
    named = [review for review in reviews if _evidence(review).standing is Standing.REVIEW] or list(reviews)
    # A moment after today is a mistake; of several such, the order counts.
    moments = [(_evidence(review).last, review.reviewed_at) for review in named]
    last = max(moments)
    at_last = [review for review, moment in zip(named, moments, strict=True) if moment == last]
    of_person: dict[str, list[Review]] = {}
    for review in at_last:
        of_person.setdefault(" ".join(review.reviewer.casefold().split()), []).append(review)
    return [list({(one.verdict, one.taxon): one for one in said}.values()) for said in of_person.values()]


def _event_items(
    store: Store,
    of_events: Mapping[str, list[list[Review]]],
    reviewed: Collection[MediaName],
    place: _Place,
) -> Iterator[LabelledItem | SkippedRow]:
    images = store.items_of_events(of_events.keys()) if of_events else {}
    for event in sorted(of_events):
        for reviews in of_events[event]:
            if event not in images:
                reason = _no_label(reviews) or "no image of the store is of this event"
                yield SkippedRow(f"event {event}", place.source, "no image", reason)
            elif len(reviews) > 1:
                yield SkippedRow(f"event {event}", place.source, "no taxon", _no_label(reviews) or "")
            else:
                listed = [(item, blank) for item, blank in images[event] if (item.uri, item.frame) not in reviewed]
                yield from _images_of_event(store, reviews, listed, place)


def _images_of_event(
    store: Store,
    reviews: Sequence[Review],
    listed: Sequence[tuple[MediaItem, bool]],
    place: _Place,
) -> Iterator[LabelledItem | SkippedRow]:
    names = [(item.uri, item.frame) for item, _ in listed]
    known = store.regions_of(names)
    place.contents.update(store.contents_of(names))
    for item, blank in listed:
        name = (item.uri, item.frame)
        detected = [box for box in known.get(name, []) if box is not None and box.detector]
        animals = [box for box in detected if is_named(box.category)]
        if reviews[0].verdict != "taxon":
            yield _item(reviews, name, None, item, place)
        elif blank or (detected and not animals):
            reason = f"the detector found {'nothing' if blank else 'no animal'} in this image of an event"
            yield SkippedRow(item.uri, place.source, "no animal", f"{reason} that was reviewed as a whole")
        else:
            boxes: list[Region | None] = [*animals]
            for box in boxes or [None]:
                yield _item(reviews, name, box, item, place)


def _deployments_of(store: Store, findings: Findings) -> Deployments:
    """Return the deployments of the store's images, by the options of the newest run that has some."""
    found = ((DeploymentOptions.from_settings(run.settings), run) for run in reversed(store.runs()))
    options, run = next(((options, run) for options, run in found if options.settings()), (DeploymentOptions(), None))
    try:
        return Deployments(store.media_under, (), options, assumed=run.settings.get("time_zone") if run else None)
    except DataError as error:
        if not findings.count(_NO_TABLE):  # a catalog reads its sources twice
            findings.add(_NO_TABLE, str(error))
        return Deployments(store.media_under, (), DeploymentOptions(None, options.deployment_from))


def _no_label(reviews: Sequence[Review]) -> str | None:
    """Return the reason why reviews are not a label; None if they are one taxon."""
    if len(reviews) > 1:
        names = sorted(review.taxon.name if review.taxon else review.verdict for review in reviews)
        return f"the review names several at once: {', '.join(names)}"
    if reviews[0].verdict != "taxon" or reviews[0].taxon is None:
        return f"the review says {reviews[0].verdict.replace('_', ' ')}"
    return None


def _item(
    reviews: Sequence[Review],
    image: MediaName,
    box: Region | None,
    item: MediaItem | None,
    place: _Place,
) -> LabelledItem | SkippedRow:
    uri, frame = image
    if is_web_address(uri) and not exists(place.path_of(uri)):
        return SkippedRow(uri, place.source, "no image", _ON_THE_WEB)
    corners = None if box is None else (box.x, box.y, box.w, box.h)
    path, content = place.path_of(uri), place.contents.get(image, "")
    # Further facts of the review (individualID, eventID, count …) may group images. Names in the catalogue or in the camera's
    # file are left out: a review that corrects a name must not be outvoted by it.
    facts = {key: value for key, value in reviews[0].details.items() if isinstance(value, (str, int, float))}
    known = {**(item.metadata if item is not None else {}), **facts}
    cells: dict[str, Any] = {key: value for key, value in known.items() if column_name(key) not in NAME_COLUMNS}
    if item is not None:
        member = place.deployments.of(item)  # a folder alone is not given, since images are grouped by it anyway
        cells |= {"sequence": item.sequence or "", "deployment": member.deployment if member.is_named else ""}
    reason = _NOT_TRAINED_ON if image in place.audited else _no_label(reviews)
    if reason:
        verdict = _SEVERAL if len(reviews) > 1 else reviews[0].verdict.replace("_", " ")
        if image in place.audited:
            verdict = _AUDITED
            if place.findings is not None:
                place.findings.add(_LEFT_OUT, uri)
        about = LabelledItem(uri, path, cells, place.source, frame, corners, _evidence(reviews[0], verdict), content)
        return SkippedRow(uri, place.source, _AUDITED if verdict == _AUDITED else "no taxon", reason, item=about)
    taxon = reviews[0].taxon
    assert taxon is not None
    ranks = {rank.value: taxon.lineage[rank.depth] for rank in RANKS if taxon.lineage[rank.depth]}
    names = {"verbatimScientificName": taxon.name, "vernacularName": taxon.common_name}
    return LabelledItem(
        uri, path, {**ranks, **names, **cells}, place.source, frame, corners, _evidence(reviews[0]), content
    )


def _evidence(review: Review, verdict: str = "") -> Evidence:
    return reviewed(review.reviewed_at, review.reviewer, of_event=review.target.kind == "event", verdict=verdict)
