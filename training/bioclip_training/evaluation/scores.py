"""Scores from hits and probabilities, with numpy alone: accuracies, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Bins of a reliability diagram, all with the same number of examples (equal mass)."""


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
