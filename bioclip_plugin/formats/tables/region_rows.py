"""One row per region, and one for every item without regions, so that no listed file is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.shared.newest_reviews import newest_of
from bioclip_plugin.formats.tables.cells import (
    NO_REVIEW,
    best_cells,
    media_cells,
    review_cells,
    taxon_cells,
)
from bioclip_plugin.formats.tables.columns import BOX, DECISION, DETECTION, Cells
from bioclip_plugin.formats.tables.keys import KeyCells
from bioclip_plugin.store.records import Review, StoredItem, StoredRegion, asked_level

NO_REGIONS = "no_regions"
"""Flag of an item that is done and has nothing to answer, since a detector found nothing in it."""

_NO_BOX: Cells = (None,) * len(BOX)
_NO_DETECTION: Cells = (None,) * len(DETECTION)
_NO_DECISION: Cells = (None,) * len(DECISION)


def region_rows(export: Export, keys: KeyCells) -> Iterator[Cells]:
    """Yield the rows of the selected items."""
    level, options = asked_level(export.run), export.options
    for stored, reviews in export.reviewed_items((level,)):
        media, known = media_cells(stored, options), keys(stored)
        if stored.failure is not None or not stored.regions:
            yield (*_row_without_answer(stored, reviews, media), *known)
        else:
            for region in stored.regions:
                yield (*_row(stored, region, reviews, media, level, options.top), *known)


def _row_without_answer(stored: StoredItem, reviews: Sequence[Review], media: Cells) -> Cells:
    failure = (stored.failure.stage, stored.failure.reason) if stored.failure else (None, None)
    flag = NO_REGIONS if stored.status == "done" and stored.failure is None else None
    return (
        stored.item.uri, stored.item.frame, *_NO_BOX, *media, *best_cells(None), None, None, None, None, flag, *failure, *_NO_DETECTION,
        *_NO_DECISION, *review_cells(newest_of(reviews, None)),
    )  # fmt: skip


def _row(
    stored: StoredItem, region: StoredRegion, reviews: Sequence[Review], media: Cells, level: str, top: int
) -> Cells:
    box, best, decision, others = region.region, region.by_rank.get(level, ()), region.decision, None
    if len(best) > 1:
        others = "; ".join(f"{taxon_cells(one.taxon)[0]} ({one.probability:.3f})" for one in best[1:top]) or None
    return (
        stored.item.uri,
        stored.item.frame,
        *((box.x, box.y, box.w, box.h) if box is not None else _NO_BOX),
        *media,
        *best_cells(best[0] if best else None),
        *(best_cells(region.consensus)[:3]),
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
        *(review_cells(newest_of(reviews, box)) if reviews else NO_REVIEW),
    )


def _step(step: Mapping[str, Any]) -> str:
    """Return one step of the rules as text: ``geofence: rolled up from Vulpes vulpes (not in NL)``."""
    before = f" from {step['from']}" if step.get("from") else ""
    why = f" ({step['why']})" if step.get("why") else ""
    return f"{step.get('rule', '')}: {step.get('did', '')}{before}{why}"
