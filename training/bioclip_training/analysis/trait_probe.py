"""Linear probe of a trait that is tested on species, genera or families it never saw, beside chance and beside their relatives.

A probe that is tested on other images of the species it learnt from needs only to recognise the species. Species are therefore
held out whole; held-out genera and families show how much of the rest is recognised relatives.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank
from bioclip_training.analysis.measure import Hits, Measure, missing, plural
from bioclip_training.analysis.ranked import spearman
from bioclip_training.analysis.resampling import jackknife
from bioclip_training.analysis.ridge import Fit, Moments, fit_of
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.traits import Trait
from bioclip_training.evidence.intervals import share_interval
from bioclip_training.evidence.minima import effective_groups

FOLDS = 5
FEWEST_CLADES = 3
STRENGTHS = (1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Penalties of the ridge regression that are tried, in units of the mean variance of a direction."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """Images with targets, and the clades that folds hold out."""

    x_ND: NDArray[np.float64]
    target_NC: NDArray[np.float64]
    """One column per word, 1 for the image's own; or one column of numbers."""
    species_N: NDArray[np.int64]
    unit_N: NDArray[np.int64]
    is_numeric: bool
    around_NC: NDArray[np.float64] = field(init=False)
    """Targets minus the mean of those learnt from when they were held out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "around_NC", np.zeros(self.target_NC.shape))


def probe_trait(
    space: Space, trait: Trait, held_out: Rank = Rank.SPECIES, *, per_image: bool = False, seed: int = 0
) -> Measure:
    """Predict a trait of held-out clades from features.

    A ridge regression (on the words' indicators for a categorical trait) learns from four fifths of the clades, each species
    weighing the same, each word too; its penalty is chosen by holding out clades of these four fifths again. Every image is
    predicted once.

    Args:
        space: the images.
        trait: one value per species of ``space.taxa``.
        held_out: rank of the clades that are held out whole: species, genus, family or higher.
        per_image: the trait has a value per image instead, such as the habitat of a photo.
        seed: seed of the folds.

    Returns:
        Of words: the share of images predicted right, the mean over words of the mean over species (chance is one by the number
        of words). ``more`` has ``majority``, the share of the commonest word, ``relatives``, the accuracy of guessing the word of
        the nearest relatives among the species learnt from, and ``left_out``, words of one clade, which cannot be held out.
        Of numbers: the rank correlation of predicted and true values over species (chance 0), both as deviations from the mean
        that the fold learnt, since that mean is low where the held-out values are high and would make chance negative; ``more``
        has ``r2`` and ``relatives``, the same correlation of the mean of the nearest relatives.

    Raises:
        UsageError: if the number of values does not fit the space.
    """
    value_N = trait.values if per_image else trait.values[space.species_N]
    if len(value_N) != len(space):
        raise UsageError(f"trait {trait.name}: {len(value_N)} values for {len(space)} images")
    known_N = np.isfinite(value_N)
    unit_N = space.units(held_out)[space.species_N]
    if not trait.is_numeric:
        known_N &= ~np.isin(value_N, alone := _words_of_one_clade(value_N[known_N], unit_N[known_N]))
    about: dict[str, Any] = {"of": "images", "unit": held_out.value}
    if not known_N.any() or np.ptp(value_N[known_N]) == 0:
        return missing(f"fewer than two values occur in two {plural(held_out)}, so that none can be held out", **about)
    kept, value_K, unit_K = space.chosen(known_N), value_N[known_N], unit_N[known_N]
    if len(np.unique(unit_K)) < FEWEST_CLADES:
        return missing(f"fewer than {FEWEST_CLADES} {plural(held_out)} have a value", **about)
    target_NC = value_K[:, None] if trait.is_numeric else (value_K[:, None] == np.unique(value_K)).astype(np.float64)
    problem = _Problem(kept.features_ND, target_NC, kept.species_N, unit_K, trait.is_numeric)
    fold_K = folds(unit_K, None if trait.is_numeric else target_NC, FOLDS, seed)
    predicted_NC, related_NC = np.zeros(target_NC.shape), np.zeros(target_NC.shape)
    for fold in range(int(fold_K.max()) + 1):
        learnt_N = fold_K != fold
        mean_C, (strength, fit) = _mean_target(problem, learnt_N), _chosen(problem, learnt_N, seed)
        predicted_NC[~learnt_N] = fit.predicted(problem.x_ND[~learnt_N], strength)[0]
        related_NC[~learnt_N] = _of_relatives(kept, problem, learnt_N, ~learnt_N) - mean_C
        problem.around_NC[~learnt_N] = problem.target_NC[~learnt_N] - mean_C
    if trait.is_numeric:
        found = _of_numbers(kept, problem, predicted_NC, related_NC, held_out)
    else:
        found = _of_words(kept, problem, predicted_NC, related_NC, held_out)
        found = replace(found, more={**found.more, "left_out": [trait.words[int(word)] for word in alone]})
    return replace(found, more={**found.more, "folds": int(fold_K.max()) + 1})


def _words_of_one_clade(value_K: NDArray[np.float64], unit_K: NDArray[np.int64]) -> list[float]:
    """Return the values that only one clade has: with it held out, a probe would never have seen them."""
    return [float(value) for value in np.unique(value_K) if len(np.unique(unit_K[value_K == value])) < 2]


def folds(unit_N: NDArray[np.int64], target_NC: NDArray[np.float64] | None, most: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image: whole units, dealt so that each word is in as many folds as it can be; none is empty.

    The rarest word's units are dealt first, each unit to the fold with least of its words and then fewest images.
    """
    units, number_N = np.unique(unit_N, return_inverse=True)
    count = min(most, len(units))
    words = 1 if target_NC is None else target_NC.shape[1]
    of_UC = np.zeros((len(units), words))
    np.add.at(of_UC, number_N, np.ones((len(unit_N), 1)) if target_NC is None else target_NC)
    share_UC = of_UC / np.maximum(of_UC.sum(axis=0), 1)
    drawn_U = np.random.default_rng([seed, 13]).permutation(len(units))
    order = sorted(range(len(units)), key=lambda unit: (-share_UC[unit].max(), drawn_U[unit]))
    held_FC, filled_F = np.zeros((count, words)), np.zeros(count)
    fold_U = np.empty(len(units), dtype=np.int64)
    for unit in order:
        load_F = (held_FC * share_UC[unit]).sum(axis=1)
        fold = (
            int(np.lexsort((filled_F, load_F, filled_F > 0))[0])
            if not filled_F.all()
            else int(np.lexsort((filled_F, load_F))[0])
        )
        fold_U[unit] = fold
        held_FC[fold] += share_UC[unit]
        filled_F[fold] += of_UC[unit].sum()
    return fold_U[number_N]


def _weights(problem: _Problem, learnt_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the weights of images: each word weighs the same in all, and each species the same within its word."""
    targets, species = problem.target_NC[learnt_N], problem.species_N[learnt_N]
    word = np.zeros(len(species), dtype=np.int64) if problem.is_numeric else targets.argmax(axis=1)
    pair = species * (targets.shape[1] + 1) + word
    _, pair_N, images = np.unique(pair, return_inverse=True, return_counts=True)
    weight_N = 1.0 / images[pair_N]
    return np.asarray(weight_N / np.bincount(word, weights=weight_N)[word])


def _mean_target(problem: _Problem, learnt_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    weight_N = _weights(problem, learnt_N)
    return np.asarray(weight_N @ problem.target_NC[learnt_N] / weight_N.sum())


def _chosen(problem: _Problem, learnt_N: NDArray[np.bool_], seed: int) -> tuple[float, Fit]:
    """Return the penalty with the least error on clades that are held out of those learnt from, of equal ones the largest; and the
    regression on all that is learnt from."""
    rows = np.flatnonzero(learnt_N)
    inner = folds(problem.unit_N[rows], None if problem.is_numeric else problem.target_NC[rows], FOLDS - 1, seed + 1)
    if int(inner.max()) < 1:
        return STRENGTHS[-1], _fit_of(problem, learnt_N)
    weight = np.zeros(len(learnt_N))
    weight[rows] = _weights(problem, learnt_N)
    block_N = np.full(len(learnt_N), -1)
    block_N[rows] = inner
    fits = _fits(problem, block_N)
    error_S = np.zeros(len(STRENGTHS))
    for fold, fit in enumerate(fits[:-1]):
        asked = block_N == fold
        right_NC = problem.target_NC[asked] - _mean_target(problem, learnt_N & ~asked)
        residual_SNC = fit.predicted(problem.x_ND[asked], *STRENGTHS) - right_NC
        error_S += (np.square(residual_SNC).sum(axis=2) * weight[asked]).sum(axis=1)
    return STRENGTHS[int(np.flatnonzero(error_S <= error_S.min() * (1 + 1e-9))[-1])], fits[-1]


def _fits(problem: _Problem, block_N: NDArray[np.int64]) -> list[Fit]:
    """Return the regressions on all blocks but each one, and that on all of them; -1 is in no block."""
    count, known_N = int(block_N.max()) + 1, block_N >= 0
    if int(known_N.sum()) - int(np.bincount(block_N[known_N]).max()) < problem.x_ND.shape[1]:
        return [_fit_of(problem, known_N & (block_N != block)) for block in range(count + 1)]
    word_N = np.zeros(len(block_N), dtype=np.int64) if problem.is_numeric else problem.target_NC.argmax(axis=1)
    words = int(word_N.max()) + 1
    pair = problem.species_N * words + word_N
    share_N = 1.0 / np.bincount(pair)[pair]
    held = [Moments(problem.x_ND.shape[1], problem.target_NC.shape[1]) for _ in range(count + 1)]
    in_BW = np.zeros((count, words))
    np.add.at(in_BW, (block_N[known_N], word_N[known_N]), share_N[known_N])
    in_FW = np.array([in_BW.sum(axis=0) - in_BW[block] for block in range(count)] + [in_BW.sum(axis=0)])
    for block in range(count):
        for word in range(words):
            rows = np.flatnonzero((block_N == block) & (word_N == word))
            if not len(rows):
                continue
            part = Moments.of(problem.x_ND[rows], problem.target_NC[rows], share_N[rows])
            for fold in range(count + 1):
                if fold != block:  # each word weighs the same in what is learnt from
                    held[fold].add(part, 1 / (in_FW[fold, word] * np.count_nonzero(in_FW[fold])))
    return [moments.fit() for moments in held]


def _fit_of(problem: _Problem, learnt_N: NDArray[np.bool_]) -> Fit:
    weight_N = _weights(problem, learnt_N)
    return fit_of(problem.x_ND[learnt_N], problem.target_NC[learnt_N], weight_N / weight_N.sum())


def _of_relatives(
    space: Space, problem: _Problem, learnt_N: NDArray[np.bool_], asked_N: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean target of the species that are nearest in the tree among those learnt from, each weighing the same."""
    mean_TC = np.full((len(space.taxa), problem.target_NC.shape[1]), np.nan)
    for species in np.unique(problem.species_N[learnt_N]):
        mean_TC[species] = problem.target_NC[learnt_N & (problem.species_N == species)].mean(axis=0)
    known_T = np.isfinite(mean_TC[:, 0])
    found_TC = np.zeros(mean_TC.shape)
    for species in np.unique(problem.species_N[asked_N]):
        height_T = np.where(known_T, space.heights_TT[species], len(RANKS) + 1)
        found_TC[species] = mean_TC[height_T == height_T.min()].mean(axis=0)
    return np.asarray(found_TC[problem.species_N[asked_N]])


def _of_words(
    space: Space,
    problem: _Problem,
    predicted_NC: NDArray[np.float64],
    related_NC: NDArray[np.float64],
    held_out: Rank,
) -> Measure:
    truth_N = problem.target_NC.argmax(axis=1)
    hits_N = (predicted_NC.argmax(axis=1) == truth_N).astype(np.float64)
    best_NC = related_NC >= related_NC.max(axis=1, keepdims=True) - 1e-12  # equal relatives count in shares
    related_N = best_NC[np.arange(len(truth_N)), truth_N] / best_NC.sum(axis=1)
    everything = np.ones(len(truth_N), dtype=bool)
    weight_N = _weights(problem, everything)
    words = problem.target_NC.shape[1]
    return Measure(
        float(weight_N @ hits_N / weight_N.sum()), share_interval(hits_N, problem.unit_N, weight_N), 1.0 / words, n=len(space),
        of="images", units=effective_groups(problem.unit_N.tolist()), unit=held_out.value,
        samples={"": Hits(hits_N, problem.unit_N, weight_N)},
        more={
            "kind": "categorical", "majority": float(problem.target_NC.mean(axis=0).max()), "words": words,
            "relatives": float(weight_N @ related_N / weight_N.sum()), "species": len(space.taxa),
        },
    )  # fmt: skip


def _of_numbers(
    space: Space,
    problem: _Problem,
    predicted_NC: NDArray[np.float64],
    related_NC: NDArray[np.float64],
    held_out: Rank,
) -> Measure:
    images_T = space.counts_T
    means = [
        np.bincount(space.species_N, weights=column[:, 0]) / images_T
        for column in (problem.around_NC, predicted_NC, related_NC)
    ]
    truth_T, predicted_T, related_T = means
    unit_T = space.units(held_out)
    spread = jackknife(lambda keep_T: spearman(predicted_T[keep_T], truth_T[keep_T]), unit_T, scale="correlation")
    around = float(np.square(truth_T).sum())
    return Measure(
        spearman(predicted_T, truth_T), spread.ci95, 0.0, n=len(space.taxa), units=spread.units, unit=held_out.value,
        reason=spread.reason, samples=spread.samples,
        more={
            "kind": "numeric", "r2": 1 - float(np.square(truth_T - predicted_T).sum()) / around if around else float("nan"),
            "relatives": spearman(related_T, truth_T), "images": len(space),
        },
    )  # fmt: skip
