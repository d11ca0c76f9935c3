"""Where people are in an image: what is blurred in every picture of it that a report holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bioclip_core.images.crops import Box
from bioclip_plugin.report.decisions import Decided, decided
from bioclip_plugin.store.records import Review, StoredRegion

_WORDS = frozenset({"person", "people", "human", "homo sapiens"})


@dataclass(frozen=True, slots=True)
class People:
    """The parts of the upright image that show somebody."""

    everywhere: bool = False
    """Somebody is in it, and nobody said where."""
    boxes: tuple[Box, ...] = ()

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.boxes)


def people_in(regions: Sequence[StoredRegion], reviews: Iterable[Review], level: str) -> People:
    """Whoever a detector, the model, a rule or a reviewer found, however unsure they were.

    Args:
        regions: all of an image, those too that the report leaves out.
        reviews: of the image, its regions and its event.
        level: the rank whose candidates the run gives.
    """
    found = [one.region.xywh if one.region else None for one in regions if _is_person(one, level)]
    for review in reviews:
        if review.verdict == "person" or (review.taxon is not None and review.taxon.genus == "Homo"):
            within = review.target.region if review.target.kind == "region" else None
            found.append(within.xywh if within else None)
    boxes = tuple((x, y, w, h) for x, y, w, h in (box for box in found if box is not None))
    return People(None in found, boxes)


def _is_person(stored: StoredRegion, level: str) -> bool:
    if stored.region is not None and stored.region.category.strip().casefold() in _WORDS:
        return True
    answer: Decided = decided(stored)
    named = [answer.candidate, *stored.by_rank.get(level, ())[:1]]
    return answer.verdict == "person" or any(
        one is not None and (one.taxon.genus == "Homo" or one.name.strip().casefold() in _WORDS) for one in named
    )
