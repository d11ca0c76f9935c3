"""One row per image: the result that stands for it, the counts of all its regions, and its newest review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.shared.image_verdicts import Seen, all_seen, best_of, counts_of, threshold_of
from bioclip_plugin.formats.shared.newest_reviews import newest_of
from bioclip_plugin.formats.tables.cells import best_cells, media_cells, review_cells
from bioclip_plugin.formats.tables.columns import Cells
from bioclip_plugin.formats.tables.keys import KeyCells
from bioclip_plugin.store.records import Review, StoredItem, asked_level


def image_rows(export: Export, keys: KeyCells) -> Iterator[Cells]:
    """Yield a row for every selected item, with a failure too."""
    level, threshold = asked_level(export.run), threshold_of(export.run)
    for stored, reviews in export.reviewed_items((level,)):
        item, failure = stored.item, stored.failure
        found = all_seen(stored, level, threshold)
        best, counts = best_of(found), counts_of(found)
        flags = dict.fromkeys(flag for region in stored.regions for flag in region.flags)
        yield (
            item.uri, item.frame, *media_cells(stored, export.options),
            (best.verdict or None) if best else None, *best_cells(best.candidate if best else None),
            len(stored.regions), individuals_of(best, counts), shown(counts), event_of(stored), " ".join(flags) or None,
            *((failure.stage, failure.reason) if failure else (None, None)),
            *review_cells(_newest(reviews)), *keys(stored),
        )  # fmt: skip


def event_of(stored: StoredItem) -> str | None:
    """Return the event of an image: that of the rules, else the sequence that the source states."""
    decided = (region.decision.event for region in stored.regions if region.decision is not None)
    return next(filter(None, decided), None) or stored.item.sequence


def individuals_of(best: Seen | None, counts: Counter[str]) -> int | None:
    """Return the number of boxes with the name of the best result; None for an image that was classified as a whole."""
    if best is None or best.region is None or best.region.region is None or best.verdict == "blank":
        return None
    return counts[best.name]


def shown(counts: Counter[str]) -> str | None:
    """Return the counts in one cell: ``Vulpes vulpes: 2; person: 1``."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return "; ".join(f"{name}: {number}" for name, number in ordered) or None


def _newest(reviews: Sequence[Review]) -> Review | None:
    """Return the newest review of the image as a whole, else of one of its regions."""
    newest = max(reviews, key=lambda review: (review.reviewed_at, review.id), default=None)
    return newest_of(reviews, None) or newest
