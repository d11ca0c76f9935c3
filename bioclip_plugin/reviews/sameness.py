"""When two reviews are one: the same words of the same thing, by the same person at the same moment."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bioclip_plugin.reviews.words import verdict_of
from bioclip_plugin.reviews.written import COMMENT_COLUMNS, REVIEWER_COLUMNS, TIME_COLUMNS, Written, unguarded

if TYPE_CHECKING:
    from bioclip_plugin.store import Review, ReviewTarget
    from bioclip_plugin.store.records import StatedReview

_NAMESPACE = uuid.UUID("3f0d51c6-54f0-5d0e-9f0b-6e2f2b6f0c11")  # of our own statements' ids; never to be changed


def sense_of(said: Review | StatedReview) -> tuple[Any, ...]:
    """What makes two reviews one: what was said of what, by whom and when."""
    target = said.target
    box = target.region.box if target.region is not None else None
    at = said.reviewed_at
    moment = (at if at is None or at.tzinfo else at.replace(tzinfo=UTC)) if at else None
    name = said.taxon.scientific_name.lower() if said.taxon else ""
    return (target.uri, target.frame, target.event, box, said.verdict, name, said.reviewer, moment)


def repeats(row: Written, reviewer: str, review: Review) -> bool:
    """Whether a row of our export still says what the export had written there of a review.

    Columns that were taken out of the table do not count; cells that were emptied do.

    Args:
        reviewer: the row's, or that of the rows that do not say.
    """
    verdict = verdict_of(row.verdict) if row.verdict else verdict_of(row.named) or "taxon"
    name = (review.taxon.scientific_name or review.taxon.common_name) if review.taxon else ""
    return (
        verdict == review.verdict
        and _plain(row.named).lower() == _plain(name).lower()
        and (_plain(reviewer) == _plain(review.reviewer) or not (reviewer or row.exported & {*REVIEWER_COLUMNS}))
        and (row.exported.isdisjoint(TIME_COLUMNS) or row.reviewed_at == review.reviewed_at)
        and (row.exported.isdisjoint(COMMENT_COLUMNS) or _plain(row.comment) == _plain(review.comment))
    )


def _plain(text: str) -> str:
    """Text without what a table may change of it: white space, and the apostrophe before what looks like a formula."""
    return " ".join(unguarded(text).split())


def uid_of(
    target: ReviewTarget, verdict: str, written: str, reviewer: str, reviewed_at: datetime | None, comment: str
) -> str:
    """The same for the same statement, in whichever file and with whichever taxonomy it is read."""
    box = list(target.region.box) if target.region is not None else None
    moment = reviewed_at.astimezone(UTC).isoformat() if reviewed_at else ""
    parts = [target.uri, target.frame, target.event, box, verdict, written.lower(), reviewer, moment, comment]
    return uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=False)).hex
