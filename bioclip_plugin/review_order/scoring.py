"""Scores of items: the best ones without a review, places within groups, and labels held of each taxon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.prototypes import unit_rows
from bioclip_plugin.contracts.review_items import ReviewItems

COMPARED = 20_000
"""Items whose features are compared with each other; of more, a random part, so that a batch takes a moment."""


def labels_held(items: ReviewItems) -> NDArray[np.int64]:
    """Return the reviews held of each of the T taxa; without counts of the project, those of the reviewed items."""
    if items.labels_T is not None:
        return np.asarray(items.labels_T, dtype=np.int64)
    taxa = items.taxon_N[items.reviewed_N & (items.taxon_N >= 0)]
    return np.bincount(taxa, minlength=len(items.taxa))


def known(values_N: NDArray[np.floating], otherwise: float) -> NDArray[np.float64]:
    """Return numbers in place of NaN."""
    return np.where(np.isnan(values_N), otherwise, values_N).astype(np.float64)


def best_of(items: ReviewItems, score_N: NDArray[np.float64], batch: int, seed: int) -> NDArray[np.int64]:
    """Return the items with the greatest scores among those without a review; equal ones in random order."""
    waiting = np.flatnonzero(~items.reviewed_N)
    if 0 < batch < len(waiting):
        # Only those that may be among the best are sorted: a million items need a tenth of the time.
        least = np.partition(score_N[waiting], len(waiting) - batch)[len(waiting) - batch]
        waiting = waiting[score_N[waiting] >= least]
    tie_W = np.random.default_rng(seed).random(len(waiting))
    return waiting[np.lexsort((tie_W, -score_N[waiting]))[:batch]]


def place_in_group(group_N: NDArray[np.integer], score_N: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the place of each item within its group, from 0, the greatest score first."""
    order_N = np.lexsort((-score_N, group_N))
    group_N = np.asarray(group_N)[order_N]
    is_first_N = np.diff(group_N, prepend=group_N[:1] - 1) != 0
    start_N = np.maximum.accumulate(np.where(is_first_N, np.arange(len(group_N)), 0))
    place_N = np.empty(len(group_N), dtype=np.int64)
    place_N[order_N] = np.arange(len(group_N)) - start_N
    return place_N


def compared(features_ND: NDArray[np.floating], *numbers: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Return the features of several parts of the items, less the mean of all of these, L2-normalised.

    Without their common direction, features of all models lie alike: of the leaves' pairs of two species, 4% have a cosine above
    0.98 with features of the demo model, and 0.3% without the mean.
    """
    rows_ND = np.asarray(features_ND[np.concatenate(numbers)], dtype=np.float32)
    if len(rows_ND):
        rows_ND = unit_rows(rows_ND - rows_ND.mean(axis=0))
    return np.split(rows_ND, np.cumsum([len(part) for part in numbers])[:-1])


def some_of(numbers_W: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the numbers themselves, or a random part of them in their order if they are more than ``COMPARED``."""
    if len(numbers_W) <= COMPARED:
        return numbers_W
    return np.sort(np.random.default_rng(seed).choice(numbers_W, COMPARED, replace=False))
