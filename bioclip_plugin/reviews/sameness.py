"""Identity of reviews: the same words about the same subject, by the same person at the same moment."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from bioclip_plugin.formats.shared.exported import unguarded
from bioclip_plugin.formats.shared.review_rows import (
    COMMENT_COLUMNS,
    REVIEWER_COLUMNS,
    TIME_COLUMNS,
    Written,
    verdict_of,
)
from bioclip_plugin.store.records import Review, ReviewTarget, StatedReview

_NAMESPACE = uuid.UUID("3f0d51c6-54f0-5d0e-9f0b-6e2f2b6f0c11")  # of the ids of our own reviews; never to be changed


def sense_of(review: Review | StatedReview) -> tuple[Any, ...]:
    """Return the identity of a review: its verdict, subject, reviewer and moment."""
    target, moment = review.target, review.reviewed_at
    box = target.region.box if target.region is not None else None
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    name = review.taxon.name.lower() if review.taxon else ""
    return (target.uri, target.frame, target.event, box, review.verdict, name, review.reviewer, moment)


def repeats(row: Written, reviewer: str, review: Review) -> bool:
    """Return True if a row of our export still states a review as the export wrote it.

    Columns that were taken out of the table do not count; cells that were emptied do.

    Args:
        reviewer: the row's reviewer, or that of rows without one.
    """
    verdict = verdict_of(row.verdict) if row.verdict else verdict_of(row.named) or "taxon"
    name = review.taxon.name if review.taxon else ""
    return (
        verdict == review.verdict
        and _plain(row.named).lower() == _plain(name).lower()
        and (_plain(reviewer) == _plain(review.reviewer) or not (reviewer or row.exported & {*REVIEWER_COLUMNS}))
        and (row.exported.isdisjoint(TIME_COLUMNS) or row.reviewed_at == review.reviewed_at)
        and (row.exported.isdisjoint(COMMENT_COLUMNS) or _plain(row.comment) == _plain(review.comment))
    )


def _plain(text: str) -> str:
    """Return text without what a table may change: white space, and the apostrophe that guards against formulas."""
    return " ".join(unguarded(text).split())


def uid_of(
    target: ReviewTarget, verdict: str, written: str, reviewer: str, reviewed_at: datetime | None, comment: str
) -> str:
    """Return the same id for the same review, in any file and with any taxonomy."""
    box = list(target.region.box) if target.region is not None else None
    moment = reviewed_at.astimezone(UTC).isoformat() if reviewed_at else ""
    parts = [target.uri, target.frame, target.event, box, verdict, written.lower(), reviewer, moment, comment]
    return uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=False)).hex
