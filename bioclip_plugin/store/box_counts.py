"""Boxes of a run in numbers: what a detector found, and how much of it was named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from bioclip_core.nouns import number_of
from bioclip_plugin.items.categories import CategoryKind, kind_of_category
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.request import DETECTION_THRESHOLD
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.reading import confidence_in
from bioclip_plugin.store.records import DONE, Run


@dataclass(slots=True)
class BoxCounts:
    """The boxes of a run's images by kind, and the images without any."""

    images: int = 0
    """Images that are done."""
    without: int = 0
    """Of these, the ones without a box."""
    named: int = 0
    """Boxes that the model was asked to name."""
    faint: int = 0
    """Boxes below the threshold, of whatever."""
    others: dict[CategoryKind, int] = field(default_factory=dict)
    """Boxes of people, of vehicles, and of categories that mean nothing, from the threshold on."""
    highest: float | None = None
    """Highest confidence of a box of an animal that is below the threshold."""

    def add(self, regions: Iterable[Region], threshold: float) -> None:
        """Count an image that is done, with its boxes."""
        self.images += 1
        found = [region for region in regions if region.detector]
        self.without += not found
        for region in found:
            confidence = 1.0 if region.confidence is None else region.confidence
            kind = kind_of_category(region.category)
            if kind != "animal" and confidence >= threshold:
                self.others[kind] = self.others.get(kind, 0) + 1
            elif region.classified:
                self.named += 1
            else:
                self.faint += 1
                if kind == "animal":
                    self.highest = max(self.highest or 0.0, confidence)

    def lines(self, detector: tuple[str, str], threshold: object) -> Iterator[str]:
        """Yield a line with the numbers, and one with advice if nothing was named; nothing if no image is done."""
        if not self.images:
            return
        name = " ".join(detector).strip()
        parts = [f"{number_of(self.named, 'box', 'boxes')} of animals"]
        for kind, words in (("person", "of people"), ("vehicle", "of vehicles"), ("blank", "of nothing")):
            if self.others.get(kind):  # type: ignore[call-overload]
                parts.append(f"{self.others[kind]} {words}")  # type: ignore[index]
        if self.faint:
            parts.append(f"{self.faint} below {threshold}")
        yield f"Detector {name}: {', '.join(parts)}; {self.without} of {number_of(self.images, 'image')} without a box"
        if self.without == self.images:
            yield (
                f"The detector {detector[0]} found nothing in any image, so that all of them are blank; look at some, and leave out "
                "--detector to name whole images"
            )
        elif self.highest is not None and not self.named:
            yield (
                f"No box of an animal reaches --detection-threshold {threshold}; the highest confidence is {self.highest:.2g}"
            )


def box_counts(connection: Connection, run: Run) -> BoxCounts:
    """Return the numbers of a run's boxes."""
    listed, regions, listing = schema.listed_regions, schema.regions, schema.listing.c
    counts = BoxCounts()
    number, confidence = func.count(), confidence_in(connection)
    threshold = float(run.settings.get("detection_threshold", DETECTION_THRESHOLD))
    is_below = func.coalesce(confidence < threshold, False)
    query = (
        select(regions.c.category, listed.c.classified, is_below, number, func.max(confidence))
        .select_from(listed.join(regions, listed.c.region == regions.c.id))
        .where(listed.c.run == run.id, regions.c.detector != "")
        .group_by(regions.c.category, listed.c.classified, is_below)
    )
    for category, classified, below, count, highest in connection.execute(query):
        kind = kind_of_category(category)
        if kind != "animal" and below:
            counts.faint += count
        elif kind != "animal":
            counts.others[kind] = counts.others.get(kind, 0) + count
        elif classified == 0:
            counts.faint += count
            counts.highest = max(counts.highest or 0.0, highest or 0.0)
        else:
            counts.named += count
    done = (listing.run == run.id, listing.status == DONE)
    counts.images = connection.execute(select(number).where(*done)).scalar_one()
    has_box = select(listed.c.media).where(listed.c.run == run.id, listed.c.media == listing.media).exists()
    counts.without = connection.execute(select(number).where(*done, ~has_box)).scalar_one()
    return counts
