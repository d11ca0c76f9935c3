"""Protocols of sets with yes-or-no attributes, FishNet and AwA2, as published and corrected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_training.analysis.resampling import Spread, jackknife
from bioclip_training.evidence.intervals import binomial_interval, share_interval
from bioclip_training.suites.attributes import (
    PUBLISHED_THRESHOLD,
    THRESHOLD,
    corrected_scores,
    exact_match,
    f1_of_attributes,
    macro_f1,
    published_macro_f1,
)
from bioclip_training.suites.measuring import Measured, Measurement, part_figure
from bioclip_training.suites.probes import AttributeLogits, attribute_logits
from bioclip_training.suites.result import Figure

LEARNING_RATES = {"fishnet": 1e-4, "awa2": 1e-5}
"""Of the published commands."""
_NO_WIDTH = 1e-9
_NO_LENGTHS = (
    "the encoder gives normalised features alone; the published probe learns from features before normalisation"
)


def _fitted(
    task: Measurement, learning_rate: float
) -> tuple[list[AttributeLogits], NDArray[np.int64], NDArray[np.int64]]:
    """Return the logits of each run, and the rows of training and test."""
    train, test = (np.intersect1d(task.images.rows_of(split), task.usable) for split in ("train", "test"))
    if not len(train) or not len(test):
        raise DataError(f"{task.images.root}: no usable images for {'fitting' if not len(train) else 'testing'}")
    if not np.isfinite(task.features.length_N[task.usable]).all():
        task.remarks.append(_NO_LENGTHS)
    raw = task.features.raw
    runs = [
        attribute_logits(
            raw(train), task.images.target_NA[train], raw(test), learning_rate=learning_rate, seed=task.config.seed + run,
            progress=task.progress,
        )
        for run in range(task.config.runs)
    ]  # fmt: skip
    return runs, train, test


def measure_fishnet(task: Measurement) -> Measured:
    """Return the share of images with all nine traits right, and what it means: for new species, and of a fixed answer."""
    runs, train, test = _fitted(task, LEARNING_RATES["fishnet"])
    truth, group_N = task.images.target_NA[test], task.group_N[test]
    as_published = np.stack([exact_match(run.with_dropout_NA, truth, PUBLISHED_THRESHOLD) for run in runs])
    corrected = np.stack([exact_match(run.logits_NA, truth, THRESHOLD) for run in runs])
    hit_N, right_N = corrected.mean(axis=0), as_published.mean(axis=0)
    is_new_N = ~np.isin(task.images.class_N[test], task.images.class_N[train])
    common = _commonest(task.images.target_NA[train])
    always_N = (truth == common).all(axis=1).astype(np.float64)
    scores = corrected_scores(np.mean([run.logits_NA for run in runs], axis=0), truth, group_N)
    published_mean = float(right_N.mean())
    exact = "exact match of all traits"
    figures = [
        Figure(
            exact, published_mean, share_interval(right_N, group_N), float(hit_N.mean()), share_interval(hit_N, group_N),
            len(test), task.groups_of(test), float(np.std(as_published.mean(axis=1))), published_as="logits above 0.5, dropout at work",
            corrected_as="logits above 0, without dropout",
        ),
        part_figure(f"{exact}, species not in train.csv", hit_N, group_N, is_new_N),
        part_figure(f"{exact}, always the commonest traits of train.csv", always_N, group_N, np.ones(len(test), bool)),
        Figure(
            "balanced accuracy of traits", corrected=scores.balanced, corrected_ci95=scores.balanced_ci95, n=len(test),
            groups=task.groups_of(test), corrected_as=_judged(scores.judged, truth.shape[1]),
        ),
    ]  # fmt: skip
    _say_constant(task, scores.constant)
    details = {"traits": _by_attribute(task, np.mean([run.logits_NA for run in runs], axis=0), truth)}
    return figures, {"runs": task.config.runs, "learning_rate": LEARNING_RATES["fishnet"], "details": details}


def _commonest(target_NA: NDArray[np.int8]) -> NDArray[np.int8]:
    patterns, counts = np.unique(target_NA, axis=0, return_counts=True)
    found: NDArray[np.int8] = patterns[counts.argmax()]
    return found


def measure_awa2(task: Measurement) -> Measured:
    """Return the macro-F1 of the published code, which scores 2 of 85 attributes, and that of all of them."""
    runs, _, test = _fitted(task, LEARNING_RATES["awa2"])
    truth, mean_NA = task.images.target_NA[test], np.mean([run.logits_NA for run in runs], axis=0)
    figures, constant = awa2_figures(runs, truth, task.group_N[test], task.images.attributes)
    _say_constant(task, constant)
    details = {"attributes": _by_attribute(task, mean_NA, truth)}
    return figures, {"runs": task.config.runs, "learning_rate": LEARNING_RATES["awa2"], "details": details}


def awa2_figures(
    runs: Sequence[AttributeLogits], truth_NA: NDArray[np.int8], group_N: NDArray[np.int64], attributes: Sequence[str]
) -> tuple[list[Figure], tuple[int, ...]]:
    """Return the figures of several fitted networks, and the attributes that cannot be judged.

    Args:
        runs: logits of the N test images.
        truth_NA: 1 for an attribute that the image's class has.
        group_N: number of each image's group, its class.
        attributes: names of the A attributes.
    """
    as_published = [published_macro_f1(run.with_dropout_NA, truth_NA) for run in runs]
    f1 = float(np.mean([macro_f1(run.logits_NA, truth_NA) for run in runs]))
    published_spread, spread = (
        _f1_spread([(getattr(run, logits), truth_NA) for run in runs], statistic, group_N)
        for logits, statistic in (("with_dropout_NA", published_macro_f1), ("logits_NA", macro_f1))
    )
    balanced = corrected_scores(np.mean([run.logits_NA for run in runs], axis=0), truth_NA, group_N)
    judged, groups = _judged(balanced.judged, len(attributes)), len(np.unique(group_N))
    figures = [
        Figure(
            "macro-F1", float(np.mean(as_published)), published_spread.ci95, f1, spread.ci95, len(truth_NA), groups,
            float(np.std(as_published)),
            published_as=f"of 2 attributes ({', '.join(attributes[:2])}), logits above 0.5, dropout at work",
            corrected_as=f"{judged}, logits above 0, without dropout; intervals by a jackknife over classes"
            + (f", of which there are none here: {spread.reason}" if spread.reason else ""),
        ),
        Figure(
            "balanced accuracy of attributes", corrected=balanced.balanced, corrected_ci95=balanced.balanced_ci95, n=len(truth_NA),
            groups=groups, corrected_as=f"{judged}; groups are classes",
        ),
    ]  # fmt: skip
    return figures, balanced.constant


def _f1_spread(
    runs: Sequence[tuple[NDArray[np.float32], NDArray[np.int8]]],
    statistic: Callable[[NDArray[np.float32], NDArray[np.int8]], float],
    group_N: NDArray[np.int64],
) -> Spread:
    """Return the interval of a macro-F1, a mean over runs: a jackknife over groups, since an F1 is no share of images.

    Where leaving out a group changes nothing, a jackknife has no width; the interval is then that of a share of as many draws.
    """

    def mean(kept_N: NDArray[np.bool_]) -> float:
        return float(np.mean([statistic(logits_NA[kept_N], truth_NA[kept_N]) for logits_NA, truth_NA in runs]))

    found = jackknife(mean, group_N, scale="share")
    low, high = found.ci95
    if high - low > _NO_WIDTH or found.reason:
        return found
    value = mean(np.ones(len(group_N), dtype=bool))
    return Spread(binomial_interval(value * found.units, found.units), found.units)


def _judged(judged: int, attributes: int) -> str:
    return f"of {judged} of {attributes} attributes, those that some test images have and others lack"


def _say_constant(task: Measurement, constant: tuple[int, ...]) -> None:
    if constant:
        task.findings.add(
            "attributes are the same for all test images and are not judged",
            task.images.attributes[constant[0]],
            len(constant),
        )


def _by_attribute(
    task: Measurement, logits_NA: NDArray[np.floating], truth_NA: NDArray[np.int8]
) -> dict[str, dict[str, float]]:
    predicted_NA = logits_NA > THRESHOLD
    f1_A = f1_of_attributes(predicted_NA, truth_NA)
    right_A = (predicted_NA == (truth_NA > 0)).mean(axis=0)
    return {
        name: {"f1": float(f1_A[at]), "right": float(right_A[at]), "share_with_it": float(truth_NA[:, at].mean())}
        for at, name in enumerate(task.images.attributes)
    }
