"""Rank correlations of distances: Spearman's with ties, the highest that ties allow, partial ones, and the share of pairs in order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 9
"""Decimals that distances of features of length about 1 are rounded to: sums in another order differ beyond them, and are ties."""


def midranks(values_P: NDArray[Any]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share the mean of their ranks."""
    _, place_P, count = np.unique(np.round(values_P, _DIGITS), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place_P], dtype=np.float64)


def spearman(first_P: NDArray[Any], second_P: NDArray[Any]) -> float:
    """Return Spearman's rank correlation, Pearson's of the mean ranks; NaN if either is constant or has fewer than two values."""
    if len(first_P) < 2:
        return float("nan")
    return _pearson(midranks(first_P), midranks(second_P))


def highest_spearman(first_P: NDArray[Any], second_P: NDArray[Any]) -> float:
    """Return Spearman's correlation of the same values if they were in perfect order.

    Distances in a tree of seven ranks have seven values, nearly all of them the highest ones, so that even features in the order
    of the tree do not reach 1.
    """
    return spearman(np.sort(first_P), np.sort(second_P))


def partial_spearman(first_P: NDArray[Any], second_P: NDArray[Any], given_P: NDArray[Any]) -> float:
    """Return the rank correlation of two that remains with a third one held; NaN if the third explains one of them entirely."""
    first, second, given = midranks(first_P), midranks(second_P), midranks(given_P)
    ab, ag, bg = _pearson(first, second), _pearson(first, given), _pearson(second, given)
    if np.isnan(ag) or np.isnan(bg):  # a constant explains nothing
        return ab
    left = (1 - ag * ag) * (1 - bg * bg)
    return float((ab - ag * bg) / np.sqrt(left)) if left > 1e-12 else float("nan")


def share_in_order(distance_P: NDArray[Any], height_P: NDArray[Any]) -> float:
    """Return the share of comparisons that are in order: of two pairs at different heights, the higher one is further apart.

    Equal distances count half. It is (1 + Somers' D) / 2: 0.5 by chance and 1 for distances in perfect order, whatever the ties in
    height. NaN if all heights are equal.
    """
    distance_P = np.round(distance_P, _DIGITS)
    right = compared = 0.0
    below = np.empty(0)
    for height in np.unique(height_P):
        own = distance_P[height_P == height]
        if len(below):
            ranks = midranks(np.concatenate([below, own]))[len(below) :]
            right += float(ranks.sum()) - len(own) * (len(own) + 1) / 2
            compared += float(len(below)) * len(own)
        below = np.concatenate([below, own])
    return right / compared if compared else float("nan")


def _pearson(first_P: NDArray[np.float64], second_P: NDArray[np.float64]) -> float:
    first, second = first_P - first_P.mean(), second_P - second_P.mean()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norm if norm > 1e-12 else float("nan")
