"""What people said as labelled items for a catalog: their newest word on each image, box or event, where it is one taxon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_core.cells import column_name
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.items.media import MediaItem, Region, path_of
from bioclip_plugin.reviews.pairing import newest_statements
from bioclip_training.catalog.names import NAME_COLUMNS
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import LeftOut

if TYPE_CHECKING:
    from bioclip_plugin.store import Review, Store

Image = tuple[str, int]
"""uri and frame."""
_ANIMALS = frozenset(("", "animal"))


def review_items(address: str, source: str) -> Iterator[LabelledItem | LeftOut]:
    """What people said in a store, where it is one taxon.

    An event's review labels each of its images that nobody reviewed and in which a detector did not find nothing: every box of
    an animal, or the whole image where no detector looked. An event (or image) of several taxa labels nothing.

    Raises:
        StoreError: if the store cannot be opened.
    """
    from bioclip_plugin.store import Store

    with Store.open(address, create=False) as store:
        of_images, of_events = _newest(store)
        wanted = {uri for uri, _ in of_images}
        media = {(item.uri, item.frame): item for item in store.media_under() if item.uri in wanted} if wanted else {}
        for image in sorted(of_images):
            for said in sorted(of_images[image].values(), key=lambda reviews: reviews[0].id):
                yield _item(said, image, said[0].target.region, media.get(image), source)
        yield from _event_items(store, of_events, of_images.keys(), source)


def _newest(store: Store) -> tuple[dict[Image, dict[Any, list[Review]]], dict[str, list[Review]]]:
    """The newest statements of each image by box, and of each event."""
    all_said: dict[Any, list[Review]] = {}
    for review in store.reviews():
        target = review.target
        key = (
            (target.event,)
            if target.kind == "event"
            else (target.uri, target.frame, target.region and target.region.box)
        )
        all_said.setdefault(key, []).append(review)
    of_images: dict[Image, dict[Any, list[Review]]] = {}
    of_events: dict[str, list[Review]] = {}
    for key, reviews in all_said.items():
        if len(key) == 1:
            of_events[str(key[0])] = newest_statements(reviews)
        else:
            of_images.setdefault((str(key[0]), key[1]), {})[key[2]] = newest_statements(reviews)
    return of_images, of_events


def _event_items(
    store: Store, of_events: Mapping[str, list[Review]], reviewed: Any, source: str
) -> Iterator[LabelledItem | LeftOut]:
    images = store.items_of_events(of_events.keys()) if of_events else {}
    for event in sorted(of_events):
        said = of_events[event]
        reason = _no_label(said)
        if reason is None and event not in images:
            reason = "no image of the store is of this event"
        if reason is not None:
            yield LeftOut(f"event {event}", source, "no taxon" if event in images else "no image", reason)
            continue
        listed = [(item, blank) for item, blank in images[event] if (item.uri, item.frame) not in reviewed]
        boxes = store.regions_of([(item.uri, item.frame) for item, _ in listed])
        for item, blank in listed:
            yield from _event_image(said, item, boxes.get((item.uri, item.frame), []), source, blank=blank)


def _event_image(
    said: Sequence[Review], item: MediaItem, known: Sequence[Region | None], source: str, *, blank: bool
) -> Iterator[LabelledItem | LeftOut]:
    detected = [box for box in known if box is not None and box.detector]
    animals = [box for box in detected if box.category in _ANIMALS]
    if blank or (detected and not animals):
        found = "nothing" if blank else "no animal"
        reason = f"the detector found {found} in this image of an event that was reviewed as a whole"
        yield LeftOut(item.uri, source, "no animal", reason)
        return
    parts: list[Region | None] = [*animals] or [None]
    for box in parts:
        yield _item(said, (item.uri, item.frame), box, item, source)


def _no_label(said: Sequence[Review]) -> str | None:
    """Why statements are no label; None where they are one taxon."""
    if len(said) > 1:
        names = sorted(review.taxon.scientific_name if review.taxon else review.verdict for review in said)
        return f"the review names several at once: {', '.join(names)}"
    if said[0].verdict != "taxon" or said[0].taxon is None:
        return f"the review says {said[0].verdict.replace('_', ' ')}"
    return None


def _item(
    said: Sequence[Review], image: Image, box: Region | None, item: MediaItem | None, source: str
) -> LabelledItem | LeftOut:
    uri, frame = image
    reason = _no_label(said)
    if reason is not None:
        return LeftOut(uri, source, "no taxon", reason)
    taxon = said[0].taxon
    assert taxon is not None
    cells: dict[str, Any] = {rank.value: taxon.lineage[rank.depth] for rank in RANKS if taxon.lineage[rank.depth]}
    cells |= {"verbatimScientificName": taxon.scientific_name, "vernacularName": taxon.common_name}
    # What else was said (individualID, eventID, count …) may group images. What the catalogue or a camera's file called the
    # image stays out: a review that corrects a name must not be outvoted by it.
    said_too = {key: value for key, value in said[0].details.items() if isinstance(value, (str, int, float))}
    known = {**(item.metadata if item is not None else {}), **said_too}
    cells |= {key: value for key, value in known.items() if column_name(key) not in NAME_COLUMNS}
    if item is not None:
        cells |= {"sequence": item.sequence or "", "deployment": item.deployment or ""}
    drawn = None if box is None else (box.x, box.y, box.w, box.h)
    return LabelledItem(uri, path_of(uri), cells, source, frame, drawn)
