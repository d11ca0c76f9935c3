"""Scores from hits and probabilities, with numpy alone: accuracies, bootstrap intervals, calibration error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

BINS = 15
"""Bins of a reliability diagram, all with the same number of examples (equal mass)."""

_DRAWN_AT_ONCE = 4_000_000  # numbers of a resample held at once, about 32 MB


def numbered(names: Sequence[Any]) -> NDArray[np.int64]:
    """Return each name's number, equal for equal names, from 0 in order of their first appearance."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def rank_hits(place_N: NDArray[np.int64], top: int) -> NDArray[np.bool_]:
    """Return a mask of the examples with the truth among the ``top`` best answers.

    Args:
        place_N: number of answers that were better than the truth, from 0; negative if the truth was not a possible answer.
    """
    return np.asarray((place_N >= 0) & (place_N < top))


def macro_mean(hits_N: NDArray[Any], taxon_N: NDArray[np.int64]) -> float:
    """Return the mean over taxa of the share of hits among each one's examples; NaN without examples."""
    if not len(hits_N):
        return float("nan")
    counts_T = np.bincount(taxon_N)
    sums_T = np.bincount(taxon_N, weights=hits_N.astype(np.float64))
    present_T = counts_T > 0
    return float((sums_T[present_T] / counts_T[present_T]).mean())


def bootstrap_interval(
    hits_N: NDArray[Any], groups_N: NDArray[np.int64], *, seed: int = 0, resamples: int = 1000
) -> Interval:
    """Return the 95% percentile interval of the mean of N hits, resampled by group (Efron's bootstrap, clustered).

    Frames of one track are one observation rather than many: whole groups are drawn with replacement.

    Args:
        hits_N: booleans, or numbers such as differences of hits.
        groups_N: the number of each one's group, from 0.
    """
    return bootstrap_intervals(hits_N[:, None].astype(np.float64), groups_N, seed=seed, resamples=resamples)[0]


def bootstrap_intervals(
    values_NM: NDArray[np.float64], groups_N: NDArray[np.int64], *, seed: int = 0, resamples: int = 1000
) -> list[Interval]:
    """Return the intervals of M columns at once over the same resamples; NaN is not an observation."""
    counted_NM = np.isfinite(values_NM)
    groups = int(groups_N.max()) + 1 if len(groups_N) else 0
    sums_GM, counts_GM = (np.zeros((groups, values_NM.shape[1])) for _ in range(2))
    np.add.at(sums_GM, groups_N, np.where(counted_NM, values_NM, 0.0))
    np.add.at(counts_GM, groups_N, counted_NM)
    parts = []
    for weights_RG in _resampled(groups, resamples, seed):
        counts_RM = weights_RG @ counts_GM
        with np.errstate(invalid="ignore"):
            parts.append(np.where(counts_RM > 0, (weights_RG @ sums_GM) / counts_RM, np.nan))
    return _percentiles(np.concatenate(parts)) if parts else [(float("nan"), float("nan"))] * values_NM.shape[1]


def macro_interval(
    hits_N: NDArray[Any],
    taxon_N: NDArray[np.int64],
    groups_N: NDArray[np.int64],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Interval:
    """Return the 95% percentile interval of :func:`macro_mean`; the mean of a resample leaves out taxa without examples in it."""
    if not len(hits_N):
        return float("nan"), float("nan")
    order = np.argsort(taxon_N, kind="stable")
    starts_T = np.flatnonzero(np.diff(taxon_N[order], prepend=-1))
    hits, (_, groups) = hits_N[order].astype(np.float64), np.unique(groups_N[order], return_inverse=True)
    means = []
    for weights_RG in _resampled(int(groups.max()) + 1, resamples, seed, at_least=len(hits)):
        weights_RN = weights_RG[:, groups]
        counts_RT = np.add.reduceat(weights_RN, starts_T, axis=1)
        shares_RT = np.add.reduceat(weights_RN * hits, starts_T, axis=1) / np.maximum(counts_RT, 1.0)
        means.append(shares_RT.sum(axis=1) / (counts_RT > 0).sum(axis=1))
    return _percentiles(np.concatenate(means)[:, None])[0]


def _resampled(groups: int, resamples: int, seed: int, at_least: int = 0) -> Iterator[NDArray[np.float64]]:
    """Yield the number of times that each of G groups was drawn, R×G, a bounded number of resamples at a time.

    The draws depend on the seed alone.
    """
    random = np.random.default_rng(seed)
    step = max(1, _DRAWN_AT_ONCE // max(groups, at_least, 1))
    for start in range(0, resamples if groups else 0, step):
        rows = min(step, resamples - start)
        drawn_RG = random.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(drawn_RG.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def _percentiles(values_RM: NDArray[np.float64]) -> list[Interval]:
    intervals = []
    for values_R in values_RM.T:
        finite = values_R[np.isfinite(values_R)]
        low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (np.nan, np.nan)
        intervals.append((float(low), float(high)))
    return intervals


@dataclass(frozen=True, slots=True)
class Reliability:
    """Accuracy of answers by their probability; B bins of equal mass, the least probable first."""

    probability_B: NDArray[np.float64]
    """Mean probability of a bin's answers."""
    accuracy_B: NDArray[np.float64]
    count_B: NDArray[np.int64]

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance between probability and accuracy, weighted by examples."""
        total = self.count_B.sum()
        return float((np.abs(self.probability_B - self.accuracy_B) * self.count_B).sum() / total) if total else np.nan


def reliability(probability_N: NDArray[Any], hits_N: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Sort answers by probability and cut them into bins of equal mass (Nguyen and O'Connor 2015).

    Args:
        probability_N: of each best answer.
        hits_N: True for a right best answer.
    """
    order = np.argsort(probability_N, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, max(1, len(order)))) if len(part)]
    return Reliability(
        np.array([probability_N[part].mean() for part in parts], dtype=np.float64),
        np.array([hits_N[part].mean() for part in parts], dtype=np.float64),
        np.array([len(part) for part in parts], dtype=np.int64),
    )


def mean_nll(own_N: NDArray[Any]) -> float:
    """Return the mean negative natural logarithm of the truth's probability; 0 counts as the smallest fp32 number (87 nats)."""
    if not len(own_N):
        return float("nan")
    return float(-np.log(np.maximum(own_N.astype(np.float64), np.finfo(np.float32).tiny)).mean())
