"""Agreement of a feature space with the tree: distances, nearest neighbours, and how far up the tree mistakes lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.measure import Hits, Measure, missing
from bioclip_training.analysis.ranked import highest_spearman, midranks, share_in_order, spearman
from bioclip_training.analysis.resampling import jackknife, mantel_p
from bioclip_training.analysis.space import Space, class_means, distances
from bioclip_training.analysis.tree import HIGHEST
from bioclip_training.evidence.intervals import share_interval
from bioclip_training.evidence.minima import effective_groups

MOST_SPECIES = 500
"""Species that pairs are made of; of more, a caller draws some, since an interval computes 60 times over all pairs."""
_PASS = 512


@dataclass(frozen=True, slots=True)
class Cophenetic:
    """Agreement of the distances between species with the tree."""

    spearman: Measure
    """Rank correlation of distance between prototypes and height in the tree. ``more`` has ``highest``, the largest one that the
    tree's ties allow, and ``halves``, that of distances from two halves of the images, which noise in the prototypes limits."""
    in_order: Measure
    """Share of comparisons in order; see :func:`~bioclip_training.analysis.ranked.share_in_order`. Chance is 0.5, perfect is 1."""
    distance_at: Mapping[int, tuple[float, int]]
    """Mean distance and number of pairs at each height of the tree."""


def cophenetic(
    space: Space, unit: Rank = Rank.SPECIES, *, metric: str = "cosine", permutations: int = 999, seed: int = 0
) -> Cophenetic:
    """Compare distances between species prototypes with the heights at which the species meet in the tree.

    Args:
        space: the images.
        unit: what is left out as a whole for the interval: species, or clades of this rank, which are fewer and more independent.
        metric: ``cosine`` or ``euclidean``.
        permutations: of Mantel's test; 0 makes none.
        seed: seed of the test and of the halves.
    """
    heights_TT = space.heights_TT
    upper_TT = np.triu(np.ones(heights_TT.shape, dtype=bool), 1)
    if len(space.taxa) < 3 or np.ptp(heights_TT[upper_TT]) == 0:
        nothing = missing(
            f"{len(space.taxa)} species that all meet at one height of the tree: there is no order to agree with"
        )
        return Cophenetic(nothing, nothing, {})
    distance_TT = distances(space.prototypes_TD, metric)
    if not np.isfinite(distance_TT).all() or np.ptp(np.round(distance_TT[upper_TT], 9)) == 0:
        nothing = missing(
            "the prototypes of all species are equal, or have no direction: there are no distances to compare"
        )
        return Cophenetic(nothing, nothing, {})
    unit_T = space.units(unit)

    def kept(keep_T: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        pairs = upper_TT & keep_T[:, None] & keep_T
        return distance_TT[pairs], heights_TT[pairs]

    spread = jackknife(lambda keep_T: spearman(*kept(keep_T)), unit_T, scale="correlation")
    order_spread = jackknife(lambda keep_T: share_in_order(*kept(keep_T)), unit_T, scale="share")
    pairs = distance_TT[upper_TT], heights_TT[upper_TT]
    p = mantel_p(_ranked(distance_TT), _ranked(heights_TT), permutations=permutations, seed=seed)
    size: dict[str, Any] = {"n": len(space.taxa), "units": spread.units, "unit": unit.value}
    more = {"highest": highest_spearman(*pairs), "halves": _between_halves(space, metric, seed), "metric": metric}
    return Cophenetic(
        Measure(spearman(*pairs), spread.ci95, 0.0, p, reason=spread.reason, more=more, samples=spread.samples, **size),
        Measure(
            share_in_order(*pairs),
            order_spread.ci95,
            0.5,
            p,
            reason=order_spread.reason,
            samples=order_spread.samples,
            **size,
        ),
        {
            int(height): (float(pairs[0][pairs[1] == height].mean()), int((pairs[1] == height).sum()))
            for height in np.unique(pairs[1])
        },
    )


def _ranked(distance_TT: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return a symmetric matrix of the mean ranks of all pairs."""
    upper = np.triu_indices(len(distance_TT), 1)
    ranks_TT = np.zeros(distance_TT.shape)
    ranks_TT[upper] = midranks(distance_TT[upper])
    return ranks_TT + ranks_TT.T


def halves(species_N: NDArray[np.int64], group_N: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return a mask of one half of each species' images, drawn by group: a group of a species is on one side.

    The groups of a species are dealt in turns in a random order; of a species with one group, the half is all or nothing.
    """
    rng = np.random.default_rng([seed, 11])
    first_N = np.zeros(len(species_N), dtype=bool)
    order = rng.permutation(len(species_N))
    turn: dict[int, int] = {}
    side: dict[tuple[int, int], bool] = {}
    for place in order.tolist():
        key = (int(species_N[place]), int(group_N[place]))
        if key not in side:
            turn[key[0]] = turn.get(key[0], int(rng.integers(2))) + 1
            side[key] = bool(turn[key[0]] % 2)
        first_N[place] = side[key]
    return first_N


def _between_halves(space: Space, metric: str, seed: int) -> float:
    """Return the rank correlation of distances between prototypes of one half of the images with those of the other half."""
    first_N = halves(space.species_N, space.group_N, seed)
    parts = [
        class_means(space.features_ND[side], space.species_N[side], len(space.taxa)) for side in (first_N, ~first_N)
    ]
    both_T = np.isfinite(parts[0]).all(axis=1) & np.isfinite(parts[1]).all(axis=1)
    upper = np.triu_indices(int(both_T.sum()), 1)
    return spearman(*(distances(part[both_T], metric)[upper] for part in parts))


def nearest_species(space: Space) -> NDArray[np.int64]:
    """Return the species whose prototype is nearest to each image; its own group is left out of its species' prototype.

    An image whose species has no other group gets -1, since it cannot be answered right.
    """
    sums_TD = space.prototypes_TD * space.counts_T[:, None]
    pair, pair_N = np.unique(np.stack([space.species_N, space.group_N], axis=1), axis=0, return_inverse=True)
    pair_N = pair_N.reshape(-1)
    own_GD = class_means(space.features_ND, pair_N, len(pair)) * np.bincount(pair_N)[:, None]
    left_GD = sums_TD[pair[:, 0]] - own_GD
    left_GD /= np.maximum(np.linalg.norm(left_GD, axis=1, keepdims=True), 1e-12)
    unit_TD = sums_TD / np.maximum(np.linalg.norm(sums_TD, axis=1, keepdims=True), 1e-12)
    answer_N = np.empty(len(space), dtype=np.int64)
    for start in range(0, len(space), _PASS):
        part = slice(start, start + _PASS)
        cosine_QT = space.features_ND[part] @ unit_TD.T
        own_Q = (space.features_ND[part] * left_GD[pair_N[part]]).sum(axis=1)
        cosine_QT[np.arange(len(own_Q)), space.species_N[part]] = own_Q
        answer_N[part] = cosine_QT.argmax(axis=1)
    is_alone_N = space.counts_T[space.species_N] == np.bincount(pair_N)[pair_N]
    answer_N[is_alone_N] = -1
    return answer_N


@dataclass(frozen=True, slots=True)
class HierarchicalError:
    """How far up the tree wrong answers lie."""

    mistakes: Measure
    """Mean height at which a wrong answer meets the truth: 1 in the genus, 7 nowhere. Chance is a wrong species drawn at random."""
    all: Measure
    """The same over all answers; a right one has height 0."""
    mistakes_at: Mapping[int, int]
    """Number of wrong answers by height."""


def hierarchical_error(space: Space, answer_N: NDArray[np.int64], unit: Rank = Rank.SPECIES) -> HierarchicalError:
    """Return the mean height of mistakes, and of all answers.

    Args:
        space: the images.
        answer_N: place of the answered species in ``space.taxa``, such as from :func:`nearest_species`; -1 is left out.
        unit: rank of the clades of the true species that are independent units for the intervals.
    """
    asked_N = answer_N >= 0
    truth, unit_N = space.species_N[asked_N], space.units(unit)[space.species_N[asked_N]]
    if not asked_N.any() or len(space.taxa) < 2:
        nothing = missing("no image can be answered: it takes two species with images in two groups", of="images")
        return HierarchicalError(nothing, nothing, {})
    heights_TT = space.heights_TT.astype(np.float64)
    height_N = heights_TT[truth, answer_N[asked_N]]
    chance_N = (heights_TT.sum(axis=1) / (len(space.taxa) - 1))[truth]
    wrong_N = height_N > 0
    counts = {int(height): int((height_N == height).sum()) for height in np.unique(height_N[wrong_N])}
    if not wrong_N.any():
        mistakes = missing("there is no wrong answer", of="mistakes", unit=unit.value)
    else:
        # Another model has other wrong answers, so that means without each unit are compared instead of images.
        spread = jackknife(lambda keep_N: _mean(height_N[keep_N & wrong_N]), unit_N)
        mistakes = replace(
            _mean_height(height_N[wrong_N], unit_N[wrong_N], chance_N[wrong_N], unit), samples=spread.samples
        )
    return HierarchicalError(
        mistakes, _mean_height(height_N, unit_N, chance_N * (1 - 1 / len(space.taxa)), unit), counts
    )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _mean_height(
    height_M: NDArray[np.float64], unit_M: NDArray[np.int64], chance_M: NDArray[np.float64], unit: Rank
) -> Measure:
    low, high = share_interval(height_M / HIGHEST, unit_M)  # a mean of numbers from 0 to 1, as the interval takes them
    return Measure(
        float(height_M.mean()), (low * HIGHEST, high * HIGHEST), float(chance_M.mean()), n=len(height_M), of="images",
        units=effective_groups(unit_M.tolist()), unit=unit.value, samples={"": Hits(height_M / HIGHEST, unit_M, reach=HIGHEST)},
    )  # fmt: skip
