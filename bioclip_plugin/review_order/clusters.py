"""Clusters of features: k-means on the unit sphere, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CLUSTERS = 512
_PASSES = 12


@dataclass(frozen=True, slots=True)
class Clusters:
    """N items in C clusters, some of which may be empty."""

    number_N: NDArray[np.int64]
    """The cluster of each item."""
    closeness_N: NDArray[np.float32]
    """Cosine of each item and the centre of its cluster: the greatest is the most typical one."""
    sizes_C: NDArray[np.int64]


def clusters_of(features_ND: NDArray[np.floating], count: int, seed: int) -> Clusters:
    """Return clusters of L2-normalised features.

    Spherical k-means (Dhillon and Modha 2001) from centres that are drawn as in k-means++ (Arthur and Vassilvitskii 2007).

    Args:
        features_ND: one row for each item, float16 or float32.
        count: number of clusters; there are no more than items or ``MOST_CLUSTERS``.
        seed: random seed.
    """
    items = len(features_ND)
    if not items:
        return Clusters(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), np.zeros(0, dtype=np.int64))
    random = np.random.default_rng(seed)
    rows_ND = np.asarray(features_ND, dtype=np.float32)
    centres_CD = _drawn_centres(rows_ND, max(1, min(count, items, MOST_CLUSTERS)), random)
    number_N, closeness_N = _nearest(rows_ND, centres_CD)
    for _ in range(_PASSES):
        before, centres_CD = number_N, _means(rows_ND, number_N, centres_CD)
        number_N, closeness_N = _nearest(rows_ND, centres_CD)
        if np.array_equal(before, number_N):
            break
    return Clusters(number_N, closeness_N, np.bincount(number_N, minlength=len(centres_CD)))


def _drawn_centres(rows_ND: NDArray[np.float32], count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return rows that lie far from each other, each drawn with its squared distance from the nearest one before."""
    chosen = [int(random.integers(len(rows_ND)))]
    distance_N = np.maximum(1.0 - rows_ND @ rows_ND[chosen[0]], 0.0).astype(np.float64)
    while len(chosen) < count and (total := float(distance_N.sum())) > 1e-6:
        place = int(np.searchsorted(np.cumsum(distance_N), random.random() * total))
        chosen.append(min(place, len(rows_ND) - 1))
        distance_N = np.minimum(distance_N, np.maximum(1.0 - rows_ND @ rows_ND[chosen[-1]], 0.0))
    return rows_ND[chosen].copy()


def _nearest(
    rows_ND: NDArray[np.float32], centres_CD: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    cosines_NC = rows_ND @ centres_CD.T
    return cosines_NC.argmax(axis=1), cosines_NC.max(axis=1)


def _means(
    rows_ND: NDArray[np.float32], number_N: NDArray[np.int64], centres_CD: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the normalised means of the clusters; an empty one keeps its centre."""
    sums_CD = np.zeros_like(centres_CD)
    order_N = np.argsort(number_N, kind="stable")
    starts = np.flatnonzero(np.diff(number_N[order_N], prepend=-1))
    sums_CD[number_N[order_N[starts]]] = np.add.reduceat(rows_ND[order_N], starts, axis=0)
    norms_C = np.linalg.norm(sums_CD, axis=1)
    is_usable_C = norms_C > 1e-6
    means_CD = centres_CD.copy()
    means_CD[is_usable_C] = sums_CD[is_usable_C] / norms_C[is_usable_C, None]
    return means_CD
