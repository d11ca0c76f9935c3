"""From the columns of a run to the items that wait for a review, and to the images of an audit sample."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.browsing.columns import VERDICTS, Columns
from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.review_order.audit import NO_DEPLOYMENT, AuditSample
from bioclip_plugin.store.records import DrawnItem

_WITHOUT_TAXON = tuple(VERDICTS.index(verdict) for verdict in ("blank", "person", "vehicle"))


def review_items(
    columns: Columns,
    rows: NDArray[np.int64],
    *,
    audited: Collection[int] = (),
    features_RD: NDArray[np.float16] | None = None,
    catalogue_R: NDArray[np.float32] | None = None,
) -> tuple[ReviewItems, NDArray[np.int64]]:
    """Return the reviewable items among R rows, and the row of each.

    Failures are no items, and neither are images of the audit sample, which has a queue of its own. Reviewed rows belong in,
    since orders learn from them.

    Args:
        columns: the run; its probabilities are calibrated if its model is.
        rows: places in the columns, such as the rows of a filter.
        audited: the store's numbers of the images of the audit sample.
        features_RD: the features of these rows; a row of zeros is unknown.
        catalogue_R: extent to which the model contradicts the catalogued names, from 0 to 1; NaN without one.
    """
    wanted_R = (columns.failure_N[rows] < 0) & ~np.isin(columns.media_N[rows], np.fromiter(audited, np.int64))
    kept = rows[wanted_R]
    disagreement_M = disagreement(columns, kept)
    if catalogue_R is not None:
        disagreement_M = np.fmax(disagreement_M, catalogue_R[wanted_R])
    marks = [mark.taxon for mark in columns.reviews if mark.taxon >= 0]
    items = ReviewItems(
        columns.taxon_N[kept], tuple(node.name for node in columns.taxa), columns.probability_N[kept], columns.margin_N[kept],
        columns.event_N[kept], columns.camera_N[kept], columns.review_N[kept] >= 0,
        None if features_RD is None else features_RD[wanted_R], disagreement_M,
        np.bincount(np.array(marks, dtype=np.int64), minlength=len(columns.taxa)).astype(np.int32),
    )  # fmt: skip
    return items, kept


def disagreement(columns: Columns, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return how much more probable the model's best candidate is than the decision of the rules, from 0 to 1.

    A decision without a taxon (blank, person, vehicle) contradicts the best candidate as a whole; "unknown" contradicts nothing.
    NaN without a candidate or a decision.
    """
    best_M, decided_M = columns.best_N[rows], columns.probability_N[rows]
    is_other_M = np.isin(columns.verdict_N[rows], _WITHOUT_TAXON)
    lead_M = np.where(is_other_M, best_M, np.maximum(best_M - decided_M, 0.0))
    return np.where(columns.verdict_N[rows] == VERDICTS.index("unknown"), 0.0 * best_M, lead_M).astype(np.float32)


def drawn_items(columns: Columns, sample: AuditSample) -> list[DrawnItem]:
    """Return the images of a sample that was drawn from all rows of a run, for the store: one for each image."""
    found: dict[int, DrawnItem] = {}
    for row, inclusion in zip(sample.rows_S.tolist(), sample.inclusion_S.tolist(), strict=True):
        media, event, camera = (int(column[row]) for column in (columns.media_N, columns.event_N, columns.camera_N))
        found.setdefault(
            media,
            DrawnItem(
                media,
                columns.events[event] if event >= 0 else "",
                columns.cameras[camera] if camera >= 0 else NO_DEPLOYMENT,
                inclusion,
            ),
        )
    return list(found.values())


def events_of(columns: Columns) -> NDArray[np.int64]:
    """Return the event of each row for a draw: the regions of one image are one event, also without an event."""
    alone_N = np.unique(columns.media_N, return_inverse=True)[1] + len(columns.events)
    return np.where(columns.event_N >= 0, columns.event_N, alone_N).astype(np.int64)
