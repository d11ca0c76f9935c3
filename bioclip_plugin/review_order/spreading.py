"""The default order: uncertain items of taxa with few labels, spread over clusters, without items that show the same thing twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.review_order.clusters import MOST_CLUSTERS, clusters_of
from bioclip_plugin.review_order.scoring import compared, known, labels_held, some_of

SAME = 0.98
"""Cosine of features above which two images show the same thing."""
FEW_LABELS = 2
"""Reviews per predicted taxon up to which margins say little: typical items of new clusters come first."""
_SHORTLIST, _BEFORE_DUPLICATES = 10, 20
"""Items per place in the batch among which it is spread, and those from which near-duplicates are dropped before."""
_MOST_SHORTLISTED = 4096


class Spread:
    """One item per event, near-duplicates dropped, small margins of taxa with few labels first, spread over clusters.

    While there are fewer than ``FEW_LABELS`` reviews per predicted taxon, it gives typical items of clusters without a review,
    the largest cluster first (Hacohen et al. 2022, TypiClust). Later an item's score is ``(1 - margin) / sqrt(1 + labels)``
    with the reviews held of its taxon; the best ten for each place of the batch are clustered, and each cluster gives its
    best one (Citovsky et al. 2021 spread margins over clusters in the same way).
    """

    name = "spread"
    sentence = (
        "One item per event and no near-duplicates: uncertain items of taxa with few reviews first, spread over groups of "
        "similar images."
    )

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        score_N = scores(items)
        tie_N = np.random.default_rng(seed).random(len(items))
        waiting = representatives(items, score_N, tie_N)
        is_cold = int(items.reviewed_N.sum()) < FEW_LABELS * len(np.unique(items.taxon_N[items.taxon_N >= 0]))
        if items.features_ND is not None and is_cold:
            chosen = _typical_of_new_clusters(items, items.features_ND, waiting, batch, seed)
        else:
            ranked = waiting[np.lexsort((tie_N[waiting], -score_N[waiting]))]
            chosen = (
                ranked[:batch] if items.features_ND is None else _spread(items.features_ND, items, ranked, batch, seed)
            )
        return _filled(chosen, items, score_N, tie_N, batch)


def scores(items: ReviewItems) -> NDArray[np.float64]:
    """Return ``(1 - margin) / sqrt(1 + labels of the taxon)`` for N items; an item without a margin is as uncertain as can be."""
    # An undecided item has the number -1: the last entry, of no labels.
    labels_N = np.append(labels_held(items), 0)[items.taxon_N]
    score_N: NDArray[np.float64] = (1.0 - known(items.margin_N, 0.0)) / np.sqrt(1.0 + labels_N)
    return score_N


def representatives(items: ReviewItems, score_N: NDArray[np.float64], tie_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the item with the greatest score of each event without a review, and all items that are an event of their own."""
    event_N = items.event_N
    is_waiting_N = ~items.reviewed_N
    begun = np.zeros(int(event_N.max(initial=-1)) + 2, dtype=bool)
    begun[event_N[items.reviewed_N]] = True
    begun[-1] = False  # items that are events of their own have the number -1
    waiting = np.flatnonzero(is_waiting_N & ~begun[event_N])
    order_W = waiting[np.lexsort((tie_N[waiting], -score_N[waiting], event_N[waiting]))]
    is_first_W = np.diff(event_N[order_W], prepend=-2) != 0
    return np.sort(order_W[is_first_W | (event_N[order_W] < 0)])


def _typical_of_new_clusters(
    items: ReviewItems, features_ND: NDArray[np.float16], waiting: NDArray[np.int64], batch: int, seed: int
) -> NDArray[np.int64]:
    """Return the items nearest to the middle of clusters without a review, the largest cluster first."""
    waiting, reviewed = some_of(waiting, seed), some_of(np.flatnonzero(items.reviewed_N), seed)
    both_BD = np.concatenate(compared(features_ND, waiting, reviewed))
    clusters = clusters_of(both_BD, min(len(reviewed) + batch, MOST_CLUSTERS), seed)
    held_C = np.bincount(clusters.number_N[len(waiting) :], minlength=len(clusters.sizes_C))
    number_W, closeness_W = clusters.number_N[: len(waiting)], clusters.closeness_N[: len(waiting)]
    order_W = np.lexsort((-closeness_W, number_W))
    first_W = order_W[np.diff(number_W[order_W], prepend=-1) != 0]
    number_F = number_W[first_W]
    chosen_B: NDArray[np.int64] = waiting[first_W[np.lexsort((-clusters.sizes_C[number_F], held_C[number_F]))][:batch]]
    return chosen_B


def _spread(
    features_ND: NDArray[np.float16], items: ReviewItems, ranked: NDArray[np.int64], batch: int, seed: int
) -> NDArray[np.int64]:
    """Return the best item of each of ``batch`` clusters of the best ranked ones that are no near-duplicates."""
    most = max(min(_BEFORE_DUPLICATES * batch, _MOST_SHORTLISTED), batch)
    best = ranked[:most]
    reviewed, others = (some_of(np.flatnonzero(part_N), seed) for part_N in (items.reviewed_N, ~items.reviewed_N))
    features_BD, seen_RD, _ = compared(features_ND, best, reviewed, others)
    kept = different(features_BD, seen_RD)[: _SHORTLIST * batch]
    clusters = clusters_of(features_BD[kept], batch, seed)
    # np.unique gives the first place of each cluster: its best item, since they are ranked.
    first = np.sort(np.unique(clusters.number_N, return_index=True)[1])
    return best[kept[first]]


def different(features_BD: NDArray[np.float32], seen_RD: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows that are no near-duplicates of a row before them or of a reviewed one, in their order."""
    is_new_B = np.ones(len(features_BD), dtype=bool)
    if len(seen_RD):
        is_new_B = (features_BD @ seen_RD.T).max(axis=1) <= SAME
    cosines_BB = features_BD @ features_BD.T
    kept: list[int] = []
    for row in np.flatnonzero(is_new_B).tolist():
        if is_new_B[row]:
            kept.append(row)
            is_new_B &= cosines_BB[row] <= SAME
    return np.array(kept, dtype=np.int64)


def _filled(
    chosen: NDArray[np.int64],
    items: ReviewItems,
    score_N: NDArray[np.float64],
    tie_N: NDArray[np.float64],
    batch: int,
) -> NDArray[np.int64]:
    """Return the chosen items, and after them further ones with the greatest scores if they are fewer than a batch."""
    if len(chosen) >= batch:
        return chosen[:batch]
    is_left_N = ~items.reviewed_N
    is_left_N[chosen] = False
    left = np.flatnonzero(is_left_N)
    more = left[np.lexsort((tie_N[left], -score_N[left]))][: batch - len(chosen)]
    return np.concatenate([chosen, more])
