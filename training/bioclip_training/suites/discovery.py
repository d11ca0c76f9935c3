"""Generalised category discovery: clusters of images of known and new classes, and their match with the true classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
"""Rounds of k-means, as in the published evaluation of Herbarium19."""
_TOLERANCE = 1e-4
_PASS_BYTES = 64 << 20


def semi_supervised_clusters(
    labelled_LD: NDArray[np.float32],
    class_L: NDArray[np.int64],
    unlabelled_UD: NDArray[np.float32],
    clusters: int,
    seed: int,
) -> NDArray[np.int64]:
    """Return the cluster of each unlabelled image by k-means in which labelled images keep their class (Vaze et al. 2022).

    The first clusters are those of the labelled classes, in ascending order; the others begin at unlabelled images that are drawn by
    k-means++. Of all rounds, the one with the smallest sum of squares counts. A cluster that lost its images keeps its centre: the
    published code takes the mean of nothing there, and no later round counts.
    """
    known, cluster_L = np.unique(class_L, return_inverse=True)
    centres_KD = _first_centres(labelled_LD, cluster_L, len(known), unlabelled_UD, clusters, seed)
    all_ND = np.concatenate([labelled_LD, unlabelled_UD])
    best, best_sum = np.zeros(len(unlabelled_UD), np.int64), np.inf
    for _ in range(ROUNDS):
        cluster_U, square_U = _nearest(unlabelled_UD, centres_KD)
        total = float(square_U.sum()) + float(np.square(labelled_LD - centres_KD[cluster_L]).sum())
        if total < best_sum:
            best, best_sum = cluster_U, total
        moved_KD = _means(all_ND, np.concatenate([cluster_L, cluster_U]), centres_KD)
        shift = float(np.linalg.norm(moved_KD - centres_KD, axis=1).sum())
        centres_KD = moved_KD
        if shift**2 < _TOLERANCE:
            break
    return best


def _first_centres(
    labelled_LD: NDArray[np.float32],
    cluster_L: NDArray[np.int64],
    known: int,
    unlabelled_UD: NDArray[np.float32],
    clusters: int,
    seed: int,
) -> NDArray[np.float32]:
    empty_KD = np.zeros((known, labelled_LD.shape[1]), np.float32)
    found = list(_means(labelled_LD, cluster_L, empty_KD))
    random = np.random.RandomState(seed)
    _, square_U = _nearest(unlabelled_UD, np.stack(found)) if found else (None, np.ones(len(unlabelled_UD), np.float32))
    while len(found) < clusters:
        shares_U = np.cumsum(square_U / max(float(square_U.sum()), 1e-30))
        drawn = min(int(np.searchsorted(shares_U, random.rand())), len(unlabelled_UD) - 1)
        found.append(unlabelled_UD[drawn])
        square_U = np.minimum(square_U, np.square(unlabelled_UD - found[-1]).sum(axis=1))
    return np.stack(found)


def _nearest(
    rows_ND: NDArray[np.float32], centres_KD: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the nearest centre of each row and its squared distance, by matrix products."""
    half_K = 0.5 * np.square(centres_KD).sum(axis=1)
    nearest, square = np.empty(len(rows_ND), np.int64), np.empty(len(rows_ND), np.float32)
    step = max(1, _PASS_BYTES // (4 * len(centres_KD)))
    for start in range(0, len(rows_ND), step):
        part = rows_ND[start : start + step]
        near = half_K - part @ centres_KD.T
        nearest[start : start + step] = near.argmin(axis=1)
        square[start : start + step] = np.maximum(2 * near.min(axis=1) + np.square(part).sum(axis=1), 0)
    return nearest, square


def _means(
    rows_ND: NDArray[np.float32], cluster_N: NDArray[np.int64], before_KD: NDArray[np.float32]
) -> NDArray[np.float32]:
    sums_KD = np.zeros(before_KD.shape, np.float64)
    np.add.at(sums_KD, cluster_N, rows_ND)
    count_K = np.bincount(cluster_N, minlength=len(before_KD))[:, None]
    return np.where(count_K > 0, sums_KD / np.maximum(count_K, 1), before_KD).astype(np.float32)


def matched(cluster_N: NDArray[np.int64], class_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask of the images whose cluster stands for their class, in the best match of clusters and classes (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment  # a dependency of scikit-learn

    if not len(cluster_N):
        return np.empty(0, dtype=bool)
    size = int(max(cluster_N.max(), class_N.max())) + 1
    count_KC = np.zeros((size, size), np.int64)
    np.add.at(count_KC, (cluster_N, class_N), 1)
    clusters, classes = linear_sum_assignment(count_KC, maximize=True)
    class_of_K = np.empty(size, np.int64)
    class_of_K[clusters] = classes
    return np.asarray(class_of_K[cluster_N] == class_N)


def matched_separately(
    cluster_N: NDArray[np.int64], class_N: NDArray[np.int64], is_known_N: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the mask of the published evaluation: known and new classes are matched apart.

    One cluster may so stand for a known class and for a new one at once, and a model that cannot tell these two apart is right twice.
    """
    right_N = np.zeros(len(cluster_N), dtype=bool)
    for part_N in (is_known_N, ~is_known_N):
        right_N[part_N] = matched(cluster_N[part_N], class_N[part_N])
    return right_N
