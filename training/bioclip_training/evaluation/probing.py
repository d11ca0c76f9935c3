"""Probe of a catalog's images: a logistic regression on features, its strength chosen by cross-validation over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.labels.label_set import one_label_each
from bioclip_core.labels.probe import LinearProbe
from bioclip_core.labels.prototypes import checked_examples, log_sum, unit_rows
from bioclip_core.nouns import number_of
from bioclip_core.process.quiet import importing, quiet
from bioclip_core.progress import silent
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import drawn_in_turn, hashed_share
from bioclip_training.evaluation.features import StageProgress

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Inverse strengths of the penalty (scikit-learn's ``C``) that are tried, for unit features ten times as large."""
UNCHOSEN = 1.0
"""Inverse strength if no taxon has a second group, so that nothing can be held out."""
MOST_EXAMPLES = 20_000
"""Images that a probe learns from; of more, each taxon gives one in turn."""

_FOLDS = 5
_LENGTH = 10.0
"""Unit features lie close together; ten times as long, they suit the usual strengths of the penalty."""
_ITERATIONS = 1000
_CHOICE_PRODUCTS = 200_000_000
"""Images × taxa × dimension of one fit of the cross-validation: a second or two on two cores."""
_THREADED_PRODUCTS = 500_000_000
"""The same from which on several threads are worth it."""
_MOST_PRODUCTS = 40_000_000_000
"""The same of the last fit: some minutes."""


@dataclass(frozen=True, slots=True)
class ProbeFit:
    """The fit behind a probe, as its label set's manifest keeps it."""

    strength: float
    """Inverse strength of the penalty, as scikit-learn's ``C``."""
    examples: int
    groups: int
    folds: int
    """Parts of the cross-validation, each of whole groups; 0 without one."""
    tested: int
    """Images that were held out once, of taxa with examples in the other parts."""
    top1: float | None
    """Share of these that was named right at the chosen strength, a little too good as the strength was chosen on it."""
    nll: float | None

    @property
    def described(self) -> str:
        """The choice of the strength, for users."""
        if not self.folds:
            return (
                f"strength {self.strength:g} of the penalty, not cross-validated: no taxon has examples in two groups"
            )
        return (
            f"strength {self.strength:g} of the penalty, cross-validated by group: {self.top1:.1%} of {self.tested} left-out "
            "examples named right"
        )


def check_scikit_learn() -> None:
    """Refuse to fit a probe without scikit-learn, before anything is encoded.

    Raises:
        BioclipError: with the way to install it.
    """
    if find_spec("sklearn") is None:
        raise BioclipError(
            "a probe is fitted with scikit-learn, which is not installed; install it with: pip install 'bioclip-plugin[train]' "
            "(a probe that exists is used without it)"
        )


def fit_probe(
    features_ND: NDArray[Any], taxa: Sequence[Taxon], groups: Sequence[str], *, progress: StageProgress = silent
) -> tuple[LinearProbe, ProbeFit, Tested]:
    """Fit a logistic regression whose loss counts every taxon equally, as one would without frequencies to rely on.

    The mean of all features is subtracted from each, and the result is L2-normalised, as for prototypes. The same examples
    give the same probe.

    Args:
        features_ND: one L2-normalised row per example, float16 as stored.
        taxa: the taxon of each row; lineages that differ only in missing ranks are one taxon.
        groups: the group of each row; a group is never on both sides of the cross-validation.
        progress: called with the stage, fits done and fits in all.

    Returns:
        The probe, its fit, and the examples as they were answered when they were held out.

    Raises:
        LabelSetError: if the examples cannot be used.
        DataError: if there are too many taxa for a logistic regression.
        BioclipError: without scikit-learn.
    """
    check_scikit_learn()
    features = checked_examples(features_ND, taxa)
    labels, label_of_N, _ = one_label_each(taxa)
    if features.shape[0] * features.shape[1] * len(labels) > _MOST_PRODUCTS:
        raise DataError(
            f"a probe of {number_of(len(labels), 'taxon', 'taxa')} from {number_of(len(features), 'example')} would be fitted for "
            "hours; make prototypes (`prototypes build`), or give --most-examples a smaller number"
        )
    strength, folds, tested = _chosen_strength(features, label_of_N, groups, progress)
    weights_CD, bias_C, mean_D = _fitted(features, label_of_N, strength)
    shown = (float(tested.hits_T.mean()), float(tested.nll_T.mean())) if folds else (None, None)
    fit = ProbeFit(strength, len(features), len(set(groups)), folds, len(tested.hits_T), *shown)
    return LinearProbe(tuple(labels), weights_CD, bias_C, mean_D), fit, tested


@dataclass(frozen=True, slots=True)
class Tested:
    """T held-out examples under one strength."""

    rows_T: NDArray[np.int64]
    """Their places among the examples."""
    hits_T: NDArray[np.bool_]
    nll_T: NDArray[np.float64]


def _chosen_strength(
    features_ND: NDArray[np.float32], label_of_N: NDArray[np.int64], groups: Sequence[str], progress: StageProgress
) -> tuple[float, int, Tested]:
    """Return the strength under which held-out images are likeliest, of equal ones the strongest penalty; and the folds."""
    rows = _some(label_of_N, groups, _CHOICE_PRODUCTS // (features_ND.shape[1] * (int(label_of_N.max()) + 1)))
    label_of_R, fold_of_R = label_of_N[rows], _folds([groups[row] for row in rows.tolist()], label_of_N[rows])
    folds = int(fold_of_R.max()) + 1
    nothing = Tested(np.empty(0, dtype=np.int64), np.empty(0, dtype=bool), np.empty(0))
    if folds < 2:
        return UNCHOSEN, 0, nothing
    parts: dict[float, list[Tested]] = {strength: [] for strength in STRENGTHS}
    for fold in range(folds):
        is_test_R = fold_of_R == fold
        known = np.unique(label_of_R[~is_test_R])
        is_test_R &= np.isin(label_of_R, known)
        if len(known) < 2 or not is_test_R.any():
            continue
        number_R = np.searchsorted(known, label_of_R)
        for done, strength in enumerate(STRENGTHS, fold * len(STRENGTHS)):
            progress("Fitting", done, folds * len(STRENGTHS) + 1)
            fitted = _fitted(features_ND[rows[fold_of_R != fold]], number_R[fold_of_R != fold], strength)
            parts[strength].append(_tested(*fitted, features_ND, rows[is_test_R], number_R[is_test_R]))
    if not parts[STRENGTHS[0]]:
        return UNCHOSEN, 0, nothing
    tested = {strength: _joined(found) for strength, found in parts.items()}
    best = min(STRENGTHS, key=lambda strength: (float(tested[strength].nll_T.mean()), strength))
    return best, folds, tested[best]


def _fitted(
    features_ND: NDArray[np.float32], label_of_N: NDArray[np.int64], strength: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return weights and biases of all labels, each with an example, for centred unit features, and the mean."""
    with importing():
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

    mean_D = features_ND.mean(axis=0)
    # Threads of BLAS wait for each other thousands of times in a small fit: with another program on the machine, minutes.
    is_small = features_ND.size * (int(label_of_N.max()) + 1) < _THREADED_PRODUCTS
    learner = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight="balanced")
    with quiet(), np.errstate(all="ignore"), threadpool_limits(limits=1 if is_small else None):
        learner.fit(_LENGTH * unit_rows(features_ND - mean_D).astype(np.float64), label_of_N)
    weights_CD, bias_C = _LENGTH * np.asarray(learner.coef_), np.asarray(learner.intercept_)
    if len(weights_CD) == 1:  # of two labels scikit-learn gives the difference
        weights_CD, bias_C = (np.concatenate([-half, half]) for half in (weights_CD / 2, bias_C / 2))
    return weights_CD.astype(np.float32), bias_C.astype(np.float32), mean_D


def _tested(
    weights_CD: NDArray[np.float32],
    bias_C: NDArray[np.float32],
    mean_D: NDArray[np.float32],
    features_ND: NDArray[np.float32],
    rows_T: NDArray[np.int64],
    label_of_T: NDArray[np.int64],
) -> Tested:
    logits_TC = (unit_rows(features_ND[rows_T] - mean_D) @ weights_CD.T + bias_C).astype(np.float64)
    own_T = logits_TC[np.arange(len(label_of_T)), label_of_T]
    return Tested(rows_T, logits_TC.argmax(axis=1) == label_of_T, log_sum(logits_TC) - own_T)


def _joined(parts: Sequence[Tested]) -> Tested:
    columns = ([getattr(part, item.name) for part in parts] for item in fields(Tested))
    return Tested(*map(np.concatenate, columns))


def _folds(groups: Sequence[str], label_of_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the part of each image: whole groups, each taxon's groups in turn over the parts.

    A group goes where its taxa have fewest images yet, in the order of the groups' hashes, so that the parts depend on
    neither the order of the images nor the machine.
    """
    rows_of: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    folds = min(_FOLDS, len(rows_of))
    held_FC = np.zeros((folds, int(label_of_R.max()) + 1), dtype=np.int64)
    fold_of_R = np.zeros(len(groups), dtype=np.int64)
    for group in sorted(rows_of, key=lambda name: (hashed_share(f"fold {name}"), name)):
        labels = label_of_R[rows_of[group]]
        own_F, all_F = held_FC[:, np.unique(labels)].sum(axis=1), held_FC.sum(axis=1)
        fold = int(np.lexsort((all_F, own_F))[0])
        fold_of_R[rows_of[group]] = fold
        np.add.at(held_FC[fold], labels, 1)
    return fold_of_R


def _some(label_of_N: NDArray[np.int64], groups: Sequence[str], most: int) -> NDArray[np.int64]:
    """Return at most that many rows, but two of each taxon, drawn from each taxon in turn."""
    share_N = np.array([hashed_share(f"chosen {group} {row}") for row, group in enumerate(groups)])
    return drawn_in_turn(label_of_N, share_N, max(most, 2 * (int(label_of_N.max()) + 1)))
