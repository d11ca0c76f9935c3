"""Life stage, sex and other classes within species: how well they separate inside and outside of the span of species means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.measure import Measure, missing
from bioclip_training.analysis.resampling import jackknife, permutation_p
from bioclip_training.analysis.space import Space, class_means
from bioclip_training.analysis.traits import Trait
from bioclip_training.analysis.within import DRAWS, span_of, splits

_FEWEST_OF_EACH = 4
"""Independent images of a value in a species: two in each half, so that there is variance around their mean."""
_FEWEST_SPECIES = 3
_TESTED = 2
"""Splits that a permutation test computes with: one draw in both directions."""


@dataclass(frozen=True, slots=True)
class Separation:
    """Fisher ratios of a class within species: variance between the means of its values over the variance around them."""

    inside: Measure
    """Within the span of species means. Chance is 0; it can be below, since what noise adds is subtracted."""
    outside: Measure
    whole: Measure
    gain: Measure
    """Ratio outside minus ratio inside; chance is 0. Above 0, the class separates better outside of the span."""
    outside_share: Measure
    """Share of the variance between the classes' means that lies outside of the span; its chance is the share of all variance
    within species that does."""


@dataclass(frozen=True, slots=True)
class _Split:
    """Observations of one half, and the span of the other half's means."""

    values_MD: NDArray[np.float64]
    inside_MK: NDArray[np.float64]
    """Their coordinates in the span."""
    species_M: NDArray[np.int64]
    class_M: NDArray[np.int64]
    classes: int


def class_separation(
    space: Space,
    trait: Trait,
    unit: Rank = Rank.SPECIES,
    *,
    span: str = "main",
    draws: int = DRAWS,
    permutations: int = 199,
    seed: int = 0,
) -> Separation:
    """Measure how well the values of a class (adult and juvenile, female and male) separate within species.

    Images of one group and class are averaged first, since they are one observation. Species means are means of their classes'
    means, so that a species seen mostly as juveniles does not put life stage into the span. The span is made of one half of the
    observations, the ratios of the other; variance that noise adds to means is subtracted.

    Args:
        space: the images.
        trait: one value per image, categorical; images without one are left out.
        unit: rank of the clades that are independent units.
        span: ``main``, the directions that carry 95% of the variance between species on which two halves of the images agree; or
            ``all`` directions of the means, most of which are noise if species are many and images few.
        draws: number of draws of halves.
        permutations: of classes among the observations of a species.
        seed: seed of draws and permutations.
    """
    observed, class_N, words, reason = _observations(space, trait)
    # Half of the observations of each value, so that both halves have all values of a species.
    sides = () if reason else splits(observed.species_N * len(words) + class_N, observed.group_N, draws, seed)
    splits_of = [_split(observed, class_N, side, span) for side in sides]
    if not reason and any(split.inside_MK.shape[1] == observed.dimension for split in splits_of):
        reason = f"the means of {len(observed.taxa)} species span all {observed.dimension} dimensions: nothing can lie outside of them"
    if not reason and any(not split.inside_MK.shape[1] for split in splits_of):
        reason = "the two halves of the images agree on no difference between species that have all values"
    if reason:
        return Separation(*[missing(f"{trait.name}: {reason}", unit=unit.value)] * len(RATIOS))
    count = len(observed.taxa)
    parts_4T = _summed(splits_of, count)
    used_T = np.flatnonzero(parts_4T[1] > 0)
    p_R = _tested(splits_of[:_TESTED], count, permutations, seed)
    unit_T = observed.units(unit)[used_T]
    spreads = [
        jackknife(lambda keep, at=at: float(_ratios(parts_4T[:, used_T[keep]])[at]), unit_T)  # type: ignore[misc]
        for at in range(len(RATIOS))
    ]
    more = {
        "span": span, "words": list(words), "observations": len(observed),
        "directions": float(np.mean([split.inside_MK.shape[1] for split in splits_of])),
    }  # fmt: skip
    chances = {"outside_share": _within_share(parts_4T)}
    return Separation(*(
        Measure(
            float(value), spread.ci95, chances.get(name, 0.0), p, n=len(used_T), units=spread.units, unit=unit.value,
            reason=spread.reason, more=more, samples=spread.samples,
        )
        for name, value, spread, p in zip(RATIOS, _ratios(parts_4T), spreads, p_R, strict=True)
    ))  # fmt: skip


RATIOS = ("inside", "outside", "whole", "gain", "outside_share")


def _tested(splits_of: Sequence[_Split], count: int, permutations: int, seed: int) -> list[float]:
    """Return the p of each figure of ``RATIOS`` for classes that are permuted among the observations of each species."""
    if not permutations:
        return [float("nan")] * len(RATIOS)
    rng, products_of = np.random.default_rng([seed, 19]), [_Products.of(split, count) for split in splits_of]

    def ratios(classes_of: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
        parts = [products.parts(class_M) for products, class_M in zip(products_of, classes_of, strict=True)]
        return _ratios(np.sum(parts, axis=0))

    shuffled = np.stack([ratios([_permuted(split, rng) for split in splits_of]) for _ in range(permutations)])
    observed = ratios([split.class_M for split in splits_of])
    found = [permutation_p(observed[at], shuffled[:, at]) for at in range(len(RATIOS))]
    return [
        p if name in ("inside", "outside", "whole") else float("nan") for name, p in zip(RATIOS, found, strict=True)
    ]


def _summed(splits_of: Sequence[_Split], count: int) -> NDArray[np.float64]:
    """Return by species the sums over splits of variance between and within classes, in all directions and inside (4×T)."""
    return np.asarray(np.sum([_parts(split, count) for split in splits_of], axis=0))


def _observations(space: Space, trait: Trait) -> tuple[Space, NDArray[np.int64], tuple[str, ...], str]:
    """Return means of images of one species, group and class as a space of their own, their classes, and why there are too few.

    Values that fewer than three species have four times are left out, and so are species without one of the others.
    """
    nothing = np.empty(0, dtype=np.int64)
    if trait.is_numeric:
        return space, nothing, (), "its values are numbers; a class has words"
    if not trait.known.any():
        return space, nothing, (), "no image has a value"
    known = space.chosen(trait.known)
    key, place_K = np.unique(
        np.stack([known.species_N, known.group_N, trait.values[trait.known].astype(np.int64)]),
        axis=1,
        return_inverse=True,
    )
    means = class_means(known.features_ND, place_K.reshape(-1), key.shape[1])
    counts_TC = np.zeros((len(known.taxa), len(trait.words)), dtype=int)
    np.add.at(counts_TC, (key[0], key[2]), 1)
    common_C = np.flatnonzero((counts_TC >= _FEWEST_OF_EACH).sum(axis=0) >= _FEWEST_SPECIES)
    complete_T = np.asarray((counts_TC[:, common_C] >= _FEWEST_OF_EACH).all(axis=1), dtype=bool)
    if len(common_C) < 2 or complete_T.sum() < _FEWEST_SPECIES:
        enough = 0 if len(common_C) < 2 else int(complete_T.sum())
        return space, nothing, (), (
            f"{enough} species have {_FEWEST_OF_EACH} independent images of each of two values, and halves of {_FEWEST_SPECIES} are "
            "needed"
        )  # fmt: skip
    used_M = np.isin(key[2], common_C) & complete_T[key[0]]
    places = np.arange(int(used_M.sum()))
    species, number = np.unique(key[0][used_M], return_inverse=True)
    observed = Space(means[used_M], number, tuple(known.taxa[place] for place in species), places, places)
    return observed, np.searchsorted(common_C, key[2][used_M]), tuple(trait.words[word] for word in common_C), ""


def _split(observed: Space, class_N: NDArray[np.int64], side_N: NDArray[np.bool_], kind: str) -> _Split:
    """Return the observations that are not of a side, in the span of the side's means."""
    classes, count = int(class_N.max()) + 1, len(observed.taxa)

    def balanced(chosen_N: NDArray[np.bool_]) -> NDArray[np.float64]:
        pair = observed.species_N[chosen_N] * classes + class_N[chosen_N]
        # A species without a class in this half has NaN, and is left out of the span: the class would be in its mean.
        means_PD = class_means(observed.features_ND[chosen_N], pair, count * classes)
        return np.asarray(means_PD.reshape(count, classes, -1).mean(axis=1))

    span = span_of(balanced(side_N), balanced(~side_N))
    directions_DK = span.directions_DK[:, : span.main] if kind == "main" else span.directions_DK
    values = observed.features_ND[~side_N]
    return _Split(values, values @ directions_DK, observed.species_N[~side_N], class_N[~side_N], classes)


def _parts(split: _Split, count: int) -> NDArray[np.float64]:
    """Return by species: variance between and within classes in all directions, then inside of the span (4×T)."""
    both = (split.values_MD, split.inside_MK)
    return np.concatenate(
        [variance_components(values, split.species_M, split.class_M, count, split.classes) for values in both]
    )


def variance_components(
    values_MD: NDArray[np.float64], species_M: NDArray[np.int64], class_M: NDArray[np.int64], count: int, classes: int
) -> NDArray[np.float64]:
    """Return by species the variance of class means without what noise adds, and the variance around them; 0 without two classes."""
    pair_M = species_M * classes + class_M
    size_TC = np.bincount(pair_M, minlength=count * classes).reshape(count, classes)
    means_PD = class_means(values_MD, pair_M, count * classes)
    square_P = np.bincount(
        pair_M, weights=np.square(values_MD - means_PD[pair_M]).sum(axis=1), minlength=count * classes
    )
    usable_TC, number_T, free_T, noise_T = _usable(size_TC)
    within_T = np.where(usable_TC, square_P.reshape(count, classes), 0.0).sum(axis=1) / np.maximum(free_T, 1)
    means_TCD = np.where(usable_TC[:, :, None], means_PD.reshape(count, classes, -1), 0.0)
    centre_TD = means_TCD.sum(axis=1) / number_T[:, None]
    off_TC = np.where(usable_TC, np.square(means_TCD - centre_TD[:, None]).sum(axis=2), 0.0)
    between_T = off_TC.sum(axis=1) / (number_T - 1) - within_T * noise_T
    is_used_T = usable_TC.any(axis=1)
    return np.stack([np.where(is_used_T, between_T, 0.0), np.where(is_used_T, within_T, 0.0)])


@dataclass(frozen=True, slots=True)
class _Products:
    """Inner products of the observations of each species, from which variances follow for any classes without the features."""

    first_E: NDArray[np.int64]
    second_E: NDArray[np.int64]
    """The two observations of each product."""
    product_2E: NDArray[np.float64]
    """In all directions, and inside of the span."""
    square_2M: NDArray[np.float64]
    species_M: NDArray[np.int64]
    count: int
    classes: int

    @classmethod
    def of(cls, split: _Split, count: int) -> _Products:
        both = (split.values_MD, split.inside_MK)
        members = [np.flatnonzero(split.species_M == species) for species in range(count)]
        return cls(
            np.concatenate([np.repeat(own, len(own)) for own in members]),
            np.concatenate([np.tile(own, len(own)) for own in members]),
            np.stack([np.concatenate([(values[own] @ values[own].T).ravel() for own in members]) for values in both]),
            np.stack([np.square(values).sum(axis=1) for values in both]), split.species_M, count, split.classes,
        )  # fmt: skip

    def parts(self, class_M: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what :func:`_parts` does, for these classes of the observations (4×T)."""
        shape = (self.count, self.classes, self.classes)
        pair_M = self.species_M * self.classes + class_M
        size_TC = np.bincount(pair_M, minlength=self.count * self.classes).reshape(shape[:2])
        usable_TC, number_T, free_T, noise_T = _usable(size_TC)
        share_TC = usable_TC / np.maximum(size_TC, 1)
        key_E = pair_M[self.first_E] * self.classes + class_M[self.second_E]
        found = []
        for product_E, square_M in zip(self.product_2E, self.square_2M, strict=True):
            sum_TCC = np.bincount(key_E, weights=product_E, minlength=self.count * self.classes**2).reshape(shape)
            means_TCC = sum_TCC * share_TC[:, :, None] * share_TC[:, None, :]  # inner products of the means of classes
            own_TC = np.einsum("tcc->tc", means_TCC)
            square_TC = np.bincount(pair_M, weights=square_M, minlength=size_TC.size).reshape(shape[:2])
            around_TC = np.where(usable_TC, square_TC - own_TC * size_TC, 0.0)
            within_T = np.maximum(around_TC, 0.0).sum(axis=1) / np.maximum(free_T, 1)
            off_T = own_TC.sum(axis=1) - means_TCC.sum(axis=(1, 2)) / number_T
            found += [off_T / (number_T - 1) - within_T * noise_T, within_T]
        return np.where(usable_TC.any(axis=1), np.stack(found), 0.0)


def _usable(
    size_TC: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the classes of each species that count, their number, their degrees of freedom, and the noise of a mean of theirs."""
    usable_TC = size_TC >= 2
    usable_TC &= (usable_TC.sum(axis=1) >= 2)[:, None]
    number_T = np.maximum(usable_TC.sum(axis=1), 2)
    free_T = np.where(usable_TC, size_TC - 1, 0).sum(axis=1)
    noise_T = np.where(usable_TC, 1 / np.maximum(size_TC, 1), 0.0).sum(axis=1) / number_T
    return usable_TC, number_T, free_T, noise_T


def _ratios(parts_4T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the figures of ``RATIOS`` from variances between and within, in all directions and inside."""
    between, within, between_in, within_in = parts_4T.sum(axis=1)
    between_out, within_out = between - between_in, within - within_in
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = between_in / within_in if within_in > 1e-12 * within else np.nan
        outside = between_out / within_out if within_out > 1e-12 * within else np.nan
        whole = between / within if within > 0 else np.nan
        share = between_out / between if between > 0 else np.nan
    return np.array([inside, outside, whole, outside - inside, share])


def _within_share(parts_4T: NDArray[np.float64]) -> float:
    """Return the share of the variance around class means that lies outside of the span."""
    _, within, _, within_in = parts_4T.sum(axis=1)
    return float(1 - within_in / within) if within > 0 else float("nan")


def _permuted(split: _Split, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the classes, permuted among the observations of each species."""
    order = np.argsort(split.species_M, kind="stable")
    drawn = np.lexsort((rng.random(len(order)), split.species_M))
    permuted = np.empty_like(split.class_M)
    permuted[order] = split.class_M[drawn]
    return permuted
