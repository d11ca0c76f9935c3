"""The folders that an image belongs to: by its reviews, else by the decisions on its regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.contracts.export_options import FolderUnit
from bioclip_plugin.formats.shared.image_verdicts import Seen, all_seen, is_below
from bioclip_plugin.formats.shared.newest_reviews import newest_of
from bioclip_plugin.formats.shared.people import is_person, says_person
from bioclip_plugin.store.records import Review, StoredItem

_TELLING = ("taxon", "person", "vehicle")
_WEAKER = ("unknown", "", "blank")


@dataclass(frozen=True, slots=True)
class Place:
    """One folder of an image."""

    verdict: str
    """``taxon``, or the verdict or state that has a folder of its own."""
    name: str = ""
    """The taxon."""
    rank: str = ""
    probability: float | None = field(default=None, compare=False)


def places_of(
    items: Sequence[StoredItem], reviews: Sequence[Review], by: FolderUnit, level: str, threshold: float
) -> list[Place]:
    """Return the folders of a file: one per taxon in it; without a taxon, person or vehicle one for its verdict.

    Args:
        items: the item of an image, or the frames of a video and the pages of a TIFF.
        reviews: of them and of their regions.
        by: the rank that gives the name of a taxon's folder.
        level: the rank whose candidates the run gives.
        threshold: the confidence of the detector below which a box shows nothing.
    """
    answered = [item for item in items if item.status == "done" and item.failure is None]
    if not answered:
        return [Place("failed" if any(item.failure for item in items) else "todo")]
    found: dict[Place, Place] = {}
    for item in answered:
        own = [review for review in reviews if review.target.frame == item.item.frame]
        for seen in all_seen(item, level, threshold):
            place = _place(seen, newest_of(own, seen.region.region if seen.region else None), by)
            best = found.setdefault(place, place)
            if (place.probability or 0) > (best.probability or 0):
                found[place] = place
    telling = [place for place in found.values() if place.verdict in _TELLING]
    weaker = sorted(found.values(), key=lambda place: _WEAKER.index(place.verdict) if place.verdict in _WEAKER else -1)
    return telling or weaker[:1]


def _place(seen: Seen, review: Review | None, by: FolderUnit) -> Place:
    if review is not None:
        if review.verdict == "taxon" and review.taxon is not None:
            return Place("taxon", *_named(review.taxon, "", by))
        return Place(review.verdict if review.verdict in ("blank", "person", "vehicle") else "unknown")
    candidate = seen.candidate
    if seen.verdict not in ("taxon", "") or candidate is None:
        return Place(seen.verdict)
    name, rank = _named(candidate.taxon, candidate.rank, by)
    return Place("taxon", name or candidate.name, rank, candidate.probability)


def _named(taxon: Taxon, rank: str, by: FolderUnit) -> tuple[str, str]:
    """Return the name and rank of a taxon's folder: at the wanted rank, or at the nearest one above it that has a name."""
    if rank in RANKS:
        taxon = taxon.truncated(Rank(rank))
    if by != "taxon" and taxon.rank is not None:
        for wanted in reversed(RANKS[: Rank(by).depth + 1]):
            if taxon.lineage[wanted.depth]:
                taxon = taxon.truncated(wanted)
                break
    return taxon.scientific_name or taxon.common_name, taxon.rank.value if taxon.rank else rank


def shows_people(items: Sequence[StoredItem], reviews: Sequence[Review], level: str, threshold: float) -> bool:
    """True if a detector from the threshold on, the model, a rule or a reviewer found a person in a file.

    Args:
        items: with all their regions, also those that are not selected.
        reviews: of them, of their regions and events.
        level: the rank whose candidates the run gives.
        threshold: the confidence of the detector below which a box shows nothing.
    """
    regions = [region for item in items for region in item.regions if not is_below(region, threshold)]
    return any(map(says_person, reviews)) or any(is_person(region, level) for region in regions)
