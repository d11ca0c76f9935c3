"""A run as table rows: one per region, and one for every item without regions, so that no listed file is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.time_zones import in_zone
from bioclip_plugin.store.records import Review, StoredItem, StoredRegion, asked_level

Cells = tuple[Any, ...]
"""Text, numbers, or None for an unknown value, in the order of COLUMNS."""

_IMAGE = ("uri", "frame")
_BOX = ("region_x", "region_y", "region_w", "region_h")
_DETECTION = ("detector", "detection_category", "detection_confidence")
_MEDIA = ("captured_at", "latitude", "longitude", "country", "deployment", "sequence", "status")
_BEST = ("scientific_name", "rank", "probability", *(rank.value for rank in RANKS), "common_name")
_CONSENSUS = ("consensus_scientific_name", "consensus_rank", "consensus_probability")
_DECISION = ("decision", "event", "rule_trail")
REVIEW_COLUMNS = ("review_verdict", "review_scientific_name", "reviewer", "reviewed_at", "review_comment")
"""The newest review, beside the model's answer and the rules' decision and never instead of them."""
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
"""The types of the columns that are not text."""

NO_REGIONS = "no_regions"
"""Flag of an item that is done and has nothing to answer, since a detector found nothing in it."""

_REMEMBERED_TAXA = 65_536

# A run names the same few thousand taxa over and over, and the store gives one object per taxon. The object is kept beside its
# cells, so that its id stays its own; hashing its nine names instead would take as long as all the rest of a row.
_known_cells: dict[int, tuple[Taxon, Cells]] = {}

_NO_BOX: Cells = (None,) * len(_BOX)
_NO_DETECTION: Cells = (None,) * len(_DETECTION)
_NO_DECISION: Cells = (None,) * len(_DECISION)
_NO_REVIEW: Cells = (None,) * len(REVIEW_COLUMNS)


def table_rows(export: Export) -> Iterator[Cells]:
    """Yield the rows of the selected items, as cells in the order of COLUMNS."""
    level, options = asked_level(export.run), export.options
    for stored, reviews in export.reviewed_items((level,)):
        media = _media_cells(stored, options)
        if stored.failure is not None or not stored.regions:
            yield _row_without_answer(stored, reviews, media)
        else:
            for region in stored.regions:
                yield _row(stored, region, reviews, media, level, options.top)


def _row_without_answer(stored: StoredItem, reviews: Sequence[Review], media: Cells) -> Cells:
    failure = (stored.failure.stage, stored.failure.reason) if stored.failure else (None, None)
    flag = NO_REGIONS if stored.status == "done" and stored.failure is None else None
    return (
        stored.item.uri, stored.item.frame, *_NO_BOX, *media, *_answer_cells(None, None), None, flag, *failure, *_NO_DETECTION,
        *_NO_DECISION, *_review_cells(newest_of(reviews, None)),
    )  # fmt: skip


def _row(
    stored: StoredItem, region: StoredRegion, reviews: Sequence[Review], media: Cells, level: str, top: int
) -> Cells:
    box, best, decision, others = region.region, region.by_rank.get(level, ()), region.decision, None
    if len(best) > 1:
        others = "; ".join(f"{_taxon_cells(one.taxon)[0]} ({one.probability:.3f})" for one in best[1:top]) or None
    return (
        stored.item.uri,
        stored.item.frame,
        *((box.x, box.y, box.w, box.h) if box is not None else _NO_BOX),
        *media,
        *_answer_cells(best[0] if best else None, region.consensus),
        others,
        " ".join(region.flags) or None,
        None,
        None,
        *((box.detector or None, box.category or None, box.confidence) if box is not None else _NO_DETECTION),
        *(
            (decision.verdict, decision.event, "; ".join(map(_step, decision.trail)) or None)
            if decision is not None
            else _NO_DECISION
        ),
        *(_review_cells(newest_of(reviews, box)) if reviews else _NO_REVIEW),
    )


def _media_cells(stored: StoredItem, options: ExportOptions) -> Cells:
    item, place = stored.item, stored.item.place
    latitude, longitude, decimals = place.latitude, place.longitude, options.coordinate_precision
    moment = in_zone(item.captured_at, options.time_zone or None).isoformat() if item.captured_at is not None else None
    if decimals is not None and latitude is not None and longitude is not None:
        latitude, longitude = round(latitude, decimals), round(longitude, decimals)
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
    """Return the scientific name (or a label's words), the seven ranks and the common name; None for an unknown one."""
    known = _known_cells.get(id(taxon))
    if known is not None:
        return known[1]
    if len(_known_cells) >= _REMEMBERED_TAXA:
        _known_cells.clear()
    names = (taxon.scientific_name or taxon.common_name, *taxon.lineage, taxon.common_name)
    cells = tuple(text or None for text in names)
    _known_cells[id(taxon)] = (taxon, cells)
    return cells


def _step(step: Mapping[str, Any]) -> str:
    """Return one step of the rules as text: ``geofence: rolled up from Vulpes vulpes (not in NL)``."""
    before = f" from {step['from']}" if step.get("from") else ""
    why = f" ({step['why']})" if step.get("why") else ""
    return f"{step.get('rule', '')}: {step.get('did', '')}{before}{why}"


def newest_of(reviews: Sequence[Review], box: Region | None) -> Review | None:
    """Return the newest review of a region; of the whole image if the region has none of its own.

    Args:
        reviews: of the image and its regions.
        box: None for the whole image.
    """
    of_media = [review for review in reviews if review.target.kind in ("media", "region")]
    whole = [review for review in of_media if review.target.kind == "media" or review.target.region is None]
    own = [review for review in of_media if box and review.target.region and review.target.region.box == box.box]
    return max(own or whole, key=lambda review: (review.reviewed_at, review.id), default=None)


def _review_cells(review: Review | None) -> Cells:
    if review is None:
        return _NO_REVIEW
    name = _taxon_cells(review.taxon)[0] if review.taxon is not None else None
    return review.verdict, name, review.reviewer, review.reviewed_at.isoformat(), review.comment or None
