"""Places of people in an image, which are blurred in every picture of it in a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bioclip_core.images.boxes import Box
from bioclip_plugin.formats.shared.people import is_person, says_person
from bioclip_plugin.store.records import Review, StoredRegion


@dataclass(frozen=True, slots=True)
class People:
    """The parts of the upright image that show people."""

    everywhere: bool = False
    """True if the image shows a person at an unknown place."""
    boxes: tuple[Box, ...] = ()

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.boxes)


def people_in(regions: Sequence[StoredRegion], reviews: Iterable[Review], level: str) -> People:
    """Return the people that a detector, the model, a rule or a reviewer found, however uncertain.

    Args:
        regions: all regions of an image, also those that the report leaves out.
        reviews: of the image, its regions and its event.
        level: the rank whose candidates the run gives.
    """
    found = [stored.region for stored in regions if is_person(stored, level)]
    found += [
        review.target.region if review.target.kind == "region" else None for review in reviews if says_person(review)
    ]
    return People(None in found, tuple((box.x, box.y, box.w, box.h) for box in found if box is not None))
