"""A run as table rows: one a region, and one for every item that has none, so that no listed file is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.items.time_zones import in_zone
from bioclip_plugin.store.records import asked_level

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.export_options import ExportOptions
    from bioclip_plugin.items.media import Region
    from bioclip_plugin.store import Review, StoredItem, StoredRegion
    from bioclip_plugin.store.records import StoredDecision

Cells = tuple[Any, ...]
"""In the order of COLUMNS: text, numbers, or None for what is not known."""

_IMAGE = ("uri", "frame")
_BOX = ("region_x", "region_y", "region_w", "region_h")
_DETECTION = ("detector", "detection_category", "detection_confidence")
_MEDIA = ("captured_at", "latitude", "longitude", "country", "deployment", "sequence", "status")
_BEST = ("scientific_name", "rank", "probability", *(rank.value for rank in RANKS), "common_name")
_CONSENSUS = ("consensus_scientific_name", "consensus_rank", "consensus_probability")
_DECISION = ("decision", "event", "rule_trail")
REVIEW_COLUMNS = ("review_verdict", "review_scientific_name", "reviewer", "reviewed_at", "review_comment")
"""The newest review. They stand beside what the model and the rules said, and never in its place."""
COLUMNS = (
    *_IMAGE, *_BOX, *_MEDIA, *_BEST, *_CONSENSUS, "other_candidates", "flags", "failure_stage", "failure_reason",
    *_DETECTION, *_DECISION, *REVIEW_COLUMNS,
)  # fmt: skip
"""In the order in which they are written; species is the epithet alone, the whole name is scientific_name."""

NUMBERS = {
    "frame": "int32",
    **dict.fromkeys(
        (*_BOX, "latitude", "longitude", "probability", "consensus_probability", "detection_confidence"), "float64"
    ),
}
"""The columns that are no text, with their types."""

NO_REGIONS = "no_regions"
"""The flag of an item that was done and had nothing to answer: a detector found nothing in it."""

_TOGETHER = 500  # items whose reviews are asked for in one query
_REMEMBERED_TAXA = 65_536

# A run names the same few thousand taxa over and over, and the store gives one object a taxon. The object is kept beside its
# cells, so that its id stays its own; hashing its nine names instead would take as long as all the rest of a cell.
_known_cells: dict[int, tuple[Taxon, Cells]] = {}

_NO_BOX: Cells = (None,) * len(_BOX)
_NO_ANSWER: Cells = (None,) * len((*_BEST, *_CONSENSUS))
_NO_DETECTION: Cells = (None,) * len(_DETECTION)
_NO_DECISION: Cells = (None,) * len(_DECISION)
_NO_REVIEW: Cells = (None,) * len(REVIEW_COLUMNS)


def table_rows(export: Export) -> Iterator[Cells]:
    """The rows of what was selected, as cells in the order of COLUMNS."""
    level, options = asked_level(export.run), export.options
    items = export.items((level,))
    while together := list(islice(items, _TOGETHER)):
        reviews = export.reviews_of(together)
        for stored in together:
            said = reviews.get((stored.item.uri, stored.item.frame), ()) if reviews else ()
            yield from _rows_of(stored, said, level, options)


def _rows_of(stored: StoredItem, reviews: Sequence[Review], level: str, options: ExportOptions) -> Iterator[Cells]:
    image = (stored.item.uri, stored.item.frame)
    media = _media_cells(stored, options)
    if stored.failure is not None or not stored.regions:
        failure = (stored.failure.stage, stored.failure.reason) if stored.failure else (None, None)
        nothing = NO_REGIONS if stored.status == "done" and stored.failure is None else None
        said = newest_of(reviews, None)
        yield (
            *image,
            *_NO_BOX,
            *media,
            *_NO_ANSWER,
            None,
            nothing,
            *failure,
            *_NO_DETECTION,
            *_NO_DECISION,
            *_review_cells(said),
        )
        return
    for region in stored.regions:
        box, best, others = region.region, region.by_rank.get(level, ()), None
        if len(best) > 1:
            others = "; ".join([_named(candidate) for candidate in best[1 : options.top]]) or None
        yield (
            *image,
            *((box.x, box.y, box.w, box.h) if box is not None else _NO_BOX),
            *media,
            *_answer_cells(best[0] if best else None, region.consensus),
            others,
            " ".join(region.flags) or None,
            None,
            None,
            *((box.detector or None, box.category or None, box.confidence) if box is not None else _NO_DETECTION),
            *_decision_cells(region),
            *(_review_cells(newest_of(reviews, box)) if reviews else _NO_REVIEW),
        )  # fmt: skip


def _media_cells(stored: StoredItem, options: ExportOptions) -> Cells:
    item, place = stored.item, stored.item.place
    captured, latitude, longitude = item.captured_at, place.latitude, place.longitude
    if captured is not None and options.time_zone:
        captured = in_zone(captured, options.time_zone)
    if options.coordinate_precision is not None and latitude is not None and longitude is not None:
        latitude, longitude = (round(degrees, options.coordinate_precision) for degrees in (latitude, longitude))
    moment = captured.isoformat() if captured is not None else None
    return (moment, latitude, longitude, place.country, item.deployment, item.sequence, stored.status)


def _answer_cells(best: Candidate | None, consensus: Candidate | None) -> Cells:
    cells: Cells = (None,) * len(_BEST)
    if best is not None:
        name, *lineage = _taxon_cells(best.taxon)
        cells = (name, best.rank, best.probability, *lineage)
    if consensus is None:
        return (*cells, None, None, None)
    return (*cells, _taxon_cells(consensus.taxon)[0], consensus.rank, consensus.probability)


def _taxon_cells(taxon: Taxon) -> Cells:
    """The scientific name (or a label's words), the seven ranks and the common name; None for what is not known."""
    known = _known_cells.get(id(taxon))
    if known is not None:
        return known[1]
    if len(_known_cells) >= _REMEMBERED_TAXA:
        _known_cells.clear()
    name = taxon.scientific_name or taxon.common_name
    cells = tuple(text or None for text in (name, *taxon.lineage, taxon.common_name))
    _known_cells[id(taxon)] = (taxon, cells)
    return cells


def _named(candidate: Candidate) -> str:
    return f"{_taxon_cells(candidate.taxon)[0]} ({candidate.probability:.3f})"


def _decision_cells(region: StoredRegion) -> Cells:
    decision = region.decision
    if decision is None:
        return _NO_DECISION
    return decision.verdict, decision.event, trail_text(decision) or None


def trail_text(decision: StoredDecision) -> str:
    """What the rules did, in one line: ``geofence: rolled up from Vulpes vulpes (not in NL); unknown: …``."""
    return "; ".join(_step(step) for step in decision.trail)


def _step(step: Mapping[str, Any]) -> str:
    before = f" from {step['from']}" if step.get("from") else ""
    why = f" ({step['why']})" if step.get("why") else ""
    return f"{step.get('rule', '')}: {step.get('did', '')}{before}{why}"


def newest_of(reviews: Sequence[Review], box: Region | None) -> Review | None:
    """The newest review of a region; where it has none of its own, of the image as a whole.

    Args:
        reviews: of the image and its regions.
        box: None is the whole image.
    """
    own, whole = [], []
    for review in reviews:
        target = review.target
        if target.kind == "media" or (target.kind == "region" and target.region is None):
            whole.append(review)
        elif box is not None and target.region is not None and target.region.box == box.box:
            own.append(review)
    found = own or whole
    return max(found, key=lambda review: (review.reviewed_at, review.id)) if found else None


def _review_cells(review: Review | None) -> Cells:
    if review is None:
        return _NO_REVIEW
    name = _taxon_cells(review.taxon)[0] if review.taxon is not None else None
    return review.verdict, name, review.reviewer, review.reviewed_at.isoformat(), review.comment or None
