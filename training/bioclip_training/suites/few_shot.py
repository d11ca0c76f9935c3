"""Few-shot classification of an evaluation set by SimpleShot: the published folds with their queries, and the corrected figure."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evaluation.few_shot import nearest_centroid
from bioclip_training.evidence.intervals import Interval, share_interval


@dataclass(frozen=True, slots=True)
class Fold:
    """One draw of examples."""

    support: NDArray[np.int64]
    """Rows of the examples, ``shots`` of each class in a row."""
    queries: NDArray[np.int64]
    """All other rows, by class."""


@dataclass(frozen=True, slots=True)
class ShotFigures:
    """Figures of k examples per class over several folds."""

    shots: int
    published: float
    """Mean over folds of the share of right queries, as the published code computes it; NaN where that code stops."""
    published_spread: float
    """Standard deviation over folds, divided by their number."""
    published_ci95: Interval
    published_queries: int
    """Queries of one fold."""
    corrected: float
    """Mean over classes of the share of right queries, without those that belong with an example of their fold."""
    corrected_ci95: Interval
    corrected_queries: int
    """Images that are a query in some fold."""
    groups: int
    """Groups of these images."""
    classes: int
    """Classes with at least one image more than examples."""
    short: tuple[int, ...]
    """The others; they are neither examples nor queries of the corrected figure."""
    leaked: int
    """Queries of all folds that share a group, or their bytes, with an example of their own class or of another."""
    first_leaked: int
    """Row of the first one; -1 without any."""


def published_fold(class_N: NDArray[np.int64], shots: int, fold: int) -> Fold:
    """Draw the examples of a fold exactly as the published code does with images in the same order.

    One generator is seeded with the number of the fold; classes follow each other in the order of their first image; the images of each
    one are shuffled, the first ``shots`` are examples and all others queries.

    Args:
        class_N: number of each image's class, in the order of first appearance.
        shots: examples per class.
        fold: from 0.
    """
    drawn = random.Random(fold)
    support, queries = [], []
    order = np.argsort(class_N, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(class_N[order])) + 1):
        shuffled = rows.tolist()
        drawn.shuffle(shuffled)
        support.append(np.array(shuffled[:shots], dtype=np.int64))
        queries.append(np.array(shuffled[shots:], dtype=np.int64))
    return Fold(np.concatenate(support), np.concatenate(queries))


def few_shot_figures(
    features_ND: NDArray[np.float16], class_N: NDArray[np.int64], group_N: NDArray[np.int64], *, shots: int, folds: int
) -> ShotFigures:
    """Classify each fold's queries by the nearest mean of its examples.

    Args:
        features_ND: L2-normalised features.
        class_N: number of each image's class, in the order of first appearance.
        group_N: number of each image's group; images with equal bytes are of one group.
        shots: examples per class.
        folds: number of draws; five as published.
    """
    features = features_ND.astype(np.float32)
    count_C = np.bincount(class_N)
    short = np.flatnonzero((count_C > 0) & (count_C <= shots))
    published, queries = [], 0
    hits_FN = np.full((folds, len(class_N)), np.nan)
    right_FN = np.full((folds, len(class_N)), np.nan)
    leaked: list[NDArray[np.int64]] = []
    for number in range(folds):
        fold = published_fold(class_N, shots, number)
        if count_C[count_C > 0].min(initial=shots) >= shots and len(fold.queries):
            right_FN[number, fold.queries] = _hits(features, class_N, fold)
            published.append(float(np.nanmean(right_FN[number])))
            queries = len(fold.queries)
        kept = _without(fold, np.isin(class_N, short))
        apart = ~np.isin(group_N[kept.queries], group_N[kept.support])
        leaked.append(kept.queries[~apart])
        kept = Fold(kept.support, kept.queries[apart])
        if len(kept.queries):
            hits_FN[number, kept.queries] = _hits(features, class_N, kept)
    right_N, asked_N = _over_folds(right_FN)
    hit_N, times_N = _over_folds(hits_FN)
    leaked_R = np.concatenate(leaked)
    asked = np.flatnonzero(times_N)
    weight_Q = times_N[asked] / np.bincount(class_N, weights=times_N)[class_N[asked]]
    nan = float("nan")
    return ShotFigures(
        shots,
        float(np.mean(published)) if published else nan, float(np.std(published)) if published else nan,
        share_interval(right_N, group_N, asked_N), queries,
        float(weight_Q @ hit_N[asked] / weight_Q.sum()) if len(asked) else nan, share_interval(hit_N[asked], group_N[asked], weight_Q),
        len(asked), len(np.unique(group_N[asked])), int((count_C > shots).sum()), tuple(short.tolist()), len(leaked_R),
        int(leaked_R[0]) if len(leaked_R) else -1,
    )  # fmt: skip


def _hits(features_ND: NDArray[np.float32], class_N: NDArray[np.int64], fold: Fold) -> NDArray[np.float64]:
    present, class_S = np.unique(class_N[fold.support], return_inverse=True)
    nearest = nearest_centroid(features_ND[fold.queries], features_ND[fold.support], class_S, len(present))
    return np.asarray(present[nearest] == class_N[fold.queries], dtype=np.float64)


def _without(fold: Fold, is_left_out_N: NDArray[np.bool_]) -> Fold:
    return Fold(fold.support[~is_left_out_N[fold.support]], fold.queries[~is_left_out_N[fold.queries]])


def _over_folds(hits_FN: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of each image's folds in which it was right, NaN for one that was never a query, and their number."""
    asked_N = np.isfinite(hits_FN).sum(axis=0).astype(np.float64)
    return np.where(asked_N > 0, np.nansum(hits_FN, axis=0) / np.maximum(asked_N, 1), np.nan), asked_N
