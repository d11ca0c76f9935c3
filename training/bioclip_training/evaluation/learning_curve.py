"""Learning curve on features: accuracy with a part of the labels, and with 1, 2, 5, 10 … images of each species.

Features are computed once, and only a cheap classifier upon them is learnt again for each part, so that the curve costs seconds.
Every step compares the same images of the same taxa, answered with fewer and with more examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evidence.intervals import difference_interval
from bioclip_training.evidence.minima import FEWEST_TO_DIFFER, counted

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Images per taxon of the points of a curve."""
SHARES = (0.25, 0.5, 1.0)
"""Parts of the groups of each taxon."""
WORTH = 0.02
"""Growth of the accuracy over a step that makes more labels worth their work."""
AT_MOST = 0.05
"""Growth that a step does not reach, with its interval, if the curve is flat."""
DRAWS = 5

Amount = int | float
"""An integer is a number of images of each taxon, a float a share of its groups."""

MORE, FLAT, UNKNOWN = "label more", "flat", "unknown"


@dataclass(frozen=True, slots=True)
class Sample:
    """N images with their features, taxa and groups."""

    features_ND: NDArray[np.float32]
    taxon_N: NDArray[np.int64]
    group_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.taxon_N)

    def where(self, wanted_N: NDArray[Any]) -> Sample:
        return Sample(self.features_ND[wanted_N], self.taxon_N[wanted_N], self.group_N[wanted_N])


@dataclass(frozen=True, slots=True)
class Step:
    """Accuracy with fewer and with more examples, over the same test images."""

    fewer: float
    """Images per taxon, or share of the groups."""
    more: float
    fewer_top1: float
    more_top1: float
    growth: float
    growth_ci95: tuple[float, float]
    fewer_images: float
    """Mean number of example images per taxon."""
    more_images: float
    more_groups: float
    """Mean number of groups that the examples of a taxon come from."""
    taxa: int
    """Taxa with enough examples for the step; test images of others are not counted."""
    images: int
    groups: int
    """Groups of the test images."""


def learning_curve(examples: Sample, queries: Sample, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Measure how accuracy grows with the number of examples.

    Whole groups are drawn, in another order in each draw: frames of one track are worth little more than one image. Queries of a
    group that is among the examples, and those of a taxon without examples, are not counted. A step counts the taxa that have
    enough examples for it, so that "more" is more for each of them.

    Args:
        examples: labelled images, with groups numbered as in ``queries``.
        queries: other images, which the accuracy is measured on.
        draws: number of orders of the groups.
        seed: random seed of the draws.

    Returns:
        ``by_share`` and ``by_images`` (lists of steps), ``verdict`` (label more, flat or unknown) with its ``sentence``, and the
        numbers of images, taxa and groups.
    """
    asked = np.isin(queries.taxon_N, examples.taxon_N) & ~np.isin(queries.group_N, examples.group_N)
    queries = queries.where(asked)
    counts = {
        "examples": len(examples),
        "taxa": len(np.unique(examples.taxon_N)),
        "images": len(queries),
        "groups": len(np.unique(queries.group_N)),
        "draws": draws,
    }
    by_share: list[Step] = []
    by_images: list[Step] = []
    if len(queries) and counts["taxa"] > 1:
        pools = [_Pool(examples, draw, seed) for draw in range(draws)]
        measured = _Measured(examples, queries, pools)
        by_share = measured.steps(SHARES)
        by_images = measured.steps(COUNTS)
    verdict, sentence = conclusion(by_share, by_images, counts)
    return {
        **counts, "verdict": verdict, "sentence": sentence,
        "by_share": [asdict(step) for step in by_share], "by_images": [asdict(step) for step in by_images],
    }  # fmt: skip


class _Pool:
    """The examples in the order of one draw: group after group of each taxon."""

    def __init__(self, examples: Sample, draw: int, seed: int) -> None:
        random = np.random.default_rng([seed, draw])
        groups, group_N = np.unique(examples.group_N, return_inverse=True)
        turn_N = random.permutation(len(groups))[group_N]
        self.order_N = np.lexsort((random.random(len(examples)), turn_N, examples.taxon_N))
        taxon_N, turn_N = examples.taxon_N[self.order_N], turn_N[self.order_N]
        is_new_taxon_N = np.diff(taxon_N, prepend=-1) != 0
        is_new_group_N = is_new_taxon_N | (np.diff(turn_N, prepend=-1) != 0)
        starts_T = np.flatnonzero(is_new_taxon_N)
        sizes_T = np.diff(starts_T, append=len(taxon_N))
        running_N = np.cumsum(is_new_group_N)
        self.place_N = np.arange(len(taxon_N)) - np.repeat(starts_T, sizes_T)
        """Number of images of the taxon before each one."""
        self.group_place_N = running_N - np.repeat(running_N[starts_T], sizes_T)
        """Number of groups of the taxon before each one's."""
        ends_T = starts_T + sizes_T - 1
        self.groups_N = np.repeat(self.group_place_N[ends_T] + 1, sizes_T)
        """Number of groups of each one's taxon."""
        self.taxa_T, self.images_T, self.groups_T = taxon_N[starts_T], sizes_T, self.group_place_N[ends_T] + 1

    def with_enough(self, fewer: Amount, more: Amount) -> NDArray[np.int64]:
        """Return the taxa for which the two amounts differ."""
        if isinstance(more, float):
            return np.asarray(self.taxa_T[np.ceil(fewer * self.groups_T) < np.ceil(more * self.groups_T)])
        return np.asarray(self.taxa_T[self.images_T >= more])

    def first(self, amount: Amount) -> NDArray[np.bool_]:
        """Return a mask of the first examples of each taxon, in the order of the draw."""
        if isinstance(amount, float):
            return np.asarray(self.group_place_N < np.ceil(amount * self.groups_N))
        return np.asarray(self.place_N < amount)


class _Measured:
    """Hits of every query with each amount of examples, the mean over draws; each amount is measured once."""

    def __init__(self, examples: Sample, queries: Sample, pools: Sequence[_Pool]) -> None:
        self._examples, self._queries, self._pools = examples, queries, pools
        self._known: dict[
            tuple[bool, Amount], tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
        ] = {}

    def steps(self, amounts: Sequence[Amount]) -> list[Step]:
        """Return the steps between neighbouring amounts that at least two taxa have enough examples for."""
        pool = self._pools[0]
        found = []
        for fewer, more in pairwise(amounts):
            counted_Q = np.isin(self._queries.taxon_N, pool.with_enough(fewer, more))
            if len(np.unique(self._queries.taxon_N[counted_Q])) > 1:
                found.append(self._step(fewer, more, counted_Q))
        return found

    def _step(self, fewer: Amount, more: Amount, counted_Q: NDArray[np.bool_]) -> Step:
        (before_Q, images_before_Q, _), (after_Q, images_after_Q, groups_Q) = self._hits(fewer), self._hits(more)
        change_Q, group_Q = (after_Q - before_Q)[counted_Q], self._queries.group_N[counted_Q]
        taxa, first = np.unique(self._queries.taxon_N[counted_Q], return_index=True)
        interval = difference_interval(change_Q, group_Q)
        fewer_images, more_images, more_groups = (
            float(column_Q[counted_Q][first].mean()) for column_Q in (images_before_Q, images_after_Q, groups_Q)
        )
        return Step(
            fewer=fewer, more=more, fewer_top1=float(before_Q[counted_Q].mean()), more_top1=float(after_Q[counted_Q].mean()),
            growth=float(change_Q.mean()), growth_ci95=interval, fewer_images=fewer_images, more_images=more_images,
            more_groups=more_groups, taxa=len(taxa), images=len(change_Q), groups=len(np.unique(group_Q)),
        )  # fmt: skip

    def _hits(self, amount: Amount) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return each query's share of draws that answer it rightly, and the mean images and groups of its taxon's examples."""
        key = isinstance(amount, float), amount  # 1 and 1.0 are equal keys
        if key not in self._known:
            hits_Q, images_Q, groups_Q = (np.zeros(len(self._queries)) for _ in range(3))
            pools = self._pools[:1] if key == (True, 1.0) else self._pools  # all orders of everything are the same
            for pool in pools:
                kept_N = pool.first(amount)
                drawn = self._examples.where(pool.order_N[kept_N])
                hits_Q += nearest(self._queries.features_ND, drawn) == self._queries.taxon_N
                place_Q = np.searchsorted(pool.taxa_T, self._queries.taxon_N)
                starts_T = np.searchsorted(drawn.taxon_N, pool.taxa_T)
                images_Q += np.diff(starts_T, append=len(drawn))[place_Q]
                groups_Q += (np.maximum.reduceat(pool.group_place_N[kept_N], starts_T) + 1)[place_Q]
            self._known[key] = hits_Q / len(pools), images_Q / len(pools), groups_Q / len(pools)
        return self._known[key]


def nearest(queries_QD: NDArray[np.float32], examples: Sample) -> NDArray[np.int64]:
    """Return the taxon of the nearest mean of examples, in the metric of their pooled covariance (Fisher's discriminant).

    The covariance is shrunk towards a multiple of the identity by D / (D + its degrees of freedom): with one example of each
    taxon this is the nearest prototype, with many it weighs directions as a logistic regression would.
    """
    taxa_C, class_N = np.unique(examples.taxon_N, return_inverse=True)
    mean_D = examples.features_ND.mean(axis=0)
    features_ND, queries_QD = _unit(examples.features_ND - mean_D), _unit(queries_QD - mean_D)
    counts_C = np.bincount(class_N)
    means_CD = np.zeros((len(taxa_C), features_ND.shape[1]), dtype=np.float32)
    np.add.at(means_CD, class_N, features_ND)
    means_CD /= counts_C[:, None]
    weights_CD, freedom = means_CD, len(features_ND) - len(taxa_C)
    if freedom > 0:
        within_ND = features_ND - means_CD[class_N]
        covariance_DD = within_ND.T @ within_ND / freedom
        dimension = len(covariance_DD)
        shrinkage = dimension / (dimension + freedom)
        spread = max(float(np.trace(covariance_DD)) / dimension, 1e-6)
        covariance_DD *= 1 - shrinkage
        covariance_DD[np.diag_indices(dimension)] += shrinkage * spread
        weights_CD = np.linalg.solve(covariance_DD, means_CD.T).T.astype(np.float32)
    offset_C = 0.5 * (weights_CD * means_CD).sum(axis=1)
    step = max(1, (64 << 20) // (4 * len(taxa_C)))
    best = [
        (queries_QD[start : start + step] @ weights_CD.T - offset_C).argmax(axis=1)
        for start in range(0, len(queries_QD), step)
    ]
    return np.asarray(taxa_C[np.concatenate(best)], dtype=np.int64)


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12))


def conclusion(by_share: Sequence[Step], by_images: Sequence[Step], counts: dict[str, int]) -> tuple[str, str]:
    """Return the verdict on more labels, and the sentence that says it with its figures."""
    step = next((step for step in reversed(by_share) if step.groups >= FEWEST_TO_DIFFER), None)
    if step is None:
        several = [step for step in by_images if step.more_groups >= 2]
        step = next((step for step in reversed(several) if step.groups >= FEWEST_TO_DIFFER), None)
    if step is None:
        return UNKNOWN, _unknown(counts)
    low, high = step.growth_ci95
    grew = (
        f"from {_amount(step.fewer_images)} to {_amount(step.more_images)} images a species accuracy "
        f"{'grew' if step.growth >= 0 else 'changed'} by {100 * step.growth:+.1f} points (95% interval {100 * low:+.1f} to "
        f"{100 * high:+.1f}; {step.images} test images of {step.taxa} species)"
    )
    if low > 0 and step.growth >= WORTH:
        return MORE, f"{grew[0].upper()}{grew[1:]}: more training labels help."
    if high < AT_MOST:
        return FLAT, f"{grew[0].upper()}{grew[1:]}, which is flat: more training labels of the same kind help little."
    return (
        UNKNOWN,
        f"{grew[0].upper()}{grew[1:]}: too few test images to say if more training labels are worth their work.",
    )


def _unknown(counts: dict[str, int]) -> str:
    if counts["taxa"] < 2:
        known = "none" if not counts["taxa"] else "only one"
        return (
            "How much more labels would help was not measured: that takes training images of at least two of the evaluated species, and "
            f"the catalog has those of {known}."
        )
    if counts["groups"] < FEWEST_TO_DIFFER:
        return (
            "Nothing can be said about more labels: the test images of species that train has are "
            f"{counted(counts['images'], counts['groups'])}, and at least {FEWEST_TO_DIFFER} groups outside of train are needed."
        )
    return (
        "Nothing can be said about more labels: the examples of a species come from one group (a track, a specimen) each, so "
        "no part of them can be left out; label images of other groups."
    )


def _amount(images: float) -> str:
    return f"{images:.0f}" if images >= 10 or abs(images - round(images)) < 0.05 else f"{images:.1f}"
