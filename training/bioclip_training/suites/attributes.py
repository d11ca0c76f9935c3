"""Scores of yes-or-no attributes: as the published evaluation of AwA2 and FishNet computes them, and corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evidence.intervals import Interval, share_interval

PUBLISHED_THRESHOLD = 0.5
"""Threshold that the published code applies to *logits*: a probability of 62%."""
THRESHOLD = 0.0
"""Logit of a probability of one half."""


def f1_of_attributes(predicted_NA: NDArray[np.bool_], truth_NA: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the F1 of each attribute; 0 for one that is neither predicted nor there, as scikit-learn gives."""
    is_true_NA = truth_NA > 0
    both_A = (predicted_NA & is_true_NA).sum(axis=0)
    sizes_A = predicted_NA.sum(axis=0) + is_true_NA.sum(axis=0)
    return np.where(sizes_A > 0, 2 * both_A / np.maximum(sizes_A, 1), 0.0)


def published_macro_f1(logits_NA: NDArray[np.floating], truth_NA: NDArray[np.int8]) -> float:
    """Return the macro-F1 of the published AwA2 evaluation, with its defects.

    Its list of attributes to average over is made of the *values* of the truth, 0 and 1, so that it scores the first and the second
    attribute only; and logits are compared with 0.5 as if they were probabilities.
    """
    scored = np.unique(truth_NA).astype(np.int64)
    scored = scored[scored < truth_NA.shape[1]]
    return float(f1_of_attributes(logits_NA > PUBLISHED_THRESHOLD, truth_NA)[scored].mean())


def exact_match(logits_NA: NDArray[np.floating], truth_NA: NDArray[np.int8], threshold: float) -> NDArray[np.bool_]:
    """Return a mask of the images with all attributes right."""
    return np.asarray(((logits_NA > threshold) == (truth_NA > 0)).all(axis=1))


@dataclass(frozen=True, slots=True)
class AttributeScores:
    """Corrected figures of A attributes over N images."""

    macro_f1: float
    """Mean F1 of the attributes that some images have and others lack."""
    balanced: float
    """Mean over these attributes of the mean of two shares: images with it that are found, and without it that are left."""
    balanced_ci95: Interval
    judged: int
    """Number of these attributes."""
    constant: tuple[int, ...]
    """The other attributes: all images agree, so that nothing can be told apart."""


def macro_f1(logits_NA: NDArray[np.floating], truth_NA: NDArray[np.int8]) -> float:
    """Return the mean F1 of the attributes that some images have and others lack, at a probability of one half; NaN without any."""
    judged = _judged(truth_NA)
    return (
        float(f1_of_attributes(logits_NA[:, judged] > THRESHOLD, truth_NA[:, judged]).mean())
        if len(judged)
        else float("nan")
    )


def _judged(truth_NA: NDArray[np.int8]) -> NDArray[np.int64]:
    with_A = (truth_NA > 0).sum(axis=0)
    return np.flatnonzero((with_A > 0) & (with_A < len(truth_NA)))


def corrected_scores(
    logits_NA: NDArray[np.floating], truth_NA: NDArray[np.int8], group_N: NDArray[np.int64]
) -> AttributeScores:
    """Return the scores over all attributes, at a probability of one half.

    Args:
        logits_NA: of each attribute of each image.
        truth_NA: 1 for an attribute that the image has.
        group_N: number of each image's group: the classes, since attributes belong to classes.
    """
    is_true_NA, predicted_NA = truth_NA > 0, logits_NA > THRESHOLD
    with_A = is_true_NA.sum(axis=0)
    judged = _judged(truth_NA)
    constant = tuple(np.setdiff1d(np.arange(truth_NA.shape[1]), judged).tolist())
    if not len(judged):
        nan = float("nan")
        return AttributeScores(nan, nan, (nan, nan), 0, constant)
    is_true_NJ, right_NJ = is_true_NA[:, judged], (predicted_NA == is_true_NA)[:, judged]
    share_J = np.where(is_true_NJ, 1.0 / with_A[judged], 1.0 / (len(truth_NA) - with_A[judged])) / (2 * len(judged))
    interval = share_interval(right_NJ.ravel(), np.repeat(group_N, len(judged)), share_J.ravel())
    return AttributeScores(
        macro_f1(logits_NA, truth_NA), float((right_NJ * share_J).sum()), interval, len(judged), constant
    )
