"""Variation within species: how much of it lies outside of the span of species means, and whether it runs along their differences.

Sample means are noisy: each carries some of its own images' variation, so that the span of means of few images turns towards the
variation within species, and the share outside of it comes out too small. Three figures show how much of that there is:

- The span is made of one half of the images and the residuals of the other, so that no image is on both sides.
- ``shuffled`` is the same share for means of the same numbers of images drawn without regard to species.
- ``overlap`` and ``main_share`` weigh directions by variance between species that both halves agree on (the products of the two
  halves' means), in which the noise cancels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.hierarchy import halves
from bioclip_training.analysis.measure import Measure, Replicates, missing
from bioclip_training.analysis.resampling import jackknife
from bioclip_training.analysis.space import Space, class_means
from bioclip_training.evidence.minima import effective_groups

DRAWS = 5
"""Draws of halves; each is used in both directions."""
MAIN = 0.95
"""Share of the variance between species that the main directions carry."""
_RELATIVE = 1e-6
"""Singular values below this share of the largest one are rounding."""


@dataclass(frozen=True, slots=True)
class Span:
    """Directions in which species differ: orthonormal columns, those of most variance between species first."""

    directions_DK: NDArray[np.float64]
    main: int
    """Number of directions that carry ``MAIN`` of the variance between species on which both halves agree; 0 if they agree on none."""


def span_of(first_TD: NDArray[np.float64], second_TD: NDArray[np.float64]) -> Span:
    """Return the span of the differences between the first means, with the variance that the second means agree on.

    Args:
        first_TD: means of species from one half of the images; a row of NaN is left out.
        second_TD: the same from the other half.
    """
    centred_TD = first_TD[np.isfinite(first_TD).all(axis=1)]
    if len(centred_TD) < 2:
        return Span(np.zeros((first_TD.shape[1], 0)), 0)
    centred_TD = centred_TD - centred_TD.mean(axis=0)
    directions_DK = _directions(centred_TD)
    both_T = np.isfinite(first_TD).all(axis=1) & np.isfinite(second_TD).all(axis=1)
    agreed_K = _agreed(first_TD[both_T] @ directions_DK, second_TD[both_T] @ directions_DK)
    total = float(agreed_K.sum())
    reached = np.flatnonzero(np.cumsum(agreed_K) >= MAIN * total) if total > 0 else np.empty(0, dtype=int)
    return Span(directions_DK, int(reached[0]) + 1 if len(reached) else 0)


def _directions(centred_TD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the principal directions as orthonormal columns, those of most variance first, without those of rounding.

    Many rows are decomposed by their D×D products, which takes a fraction of the time of their own decomposition.
    """
    if 2 * len(centred_TD) < centred_TD.shape[1]:
        _, length_K, directions_KD = np.linalg.svd(centred_TD, full_matrices=False)
        return directions_KD[length_K > _RELATIVE * max(float(length_K.max(initial=0.0)), 1e-300)].T
    square_D, directions_DD = np.linalg.eigh(centred_TD.T @ centred_TD)
    kept_D = square_D > _RELATIVE**2 * max(float(square_D.max(initial=0.0)), 1e-300)
    return np.asarray(directions_DD[:, kept_D][:, ::-1])


def _agreed(first_TK: NDArray[np.float64], second_TK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance over species of two halves' means, by direction."""
    if len(first_TK) < 2:
        return np.zeros(first_TK.shape[1])
    return np.asarray(((first_TK - first_TK.mean(axis=0)) * (second_TK - second_TK.mean(axis=0))).sum(axis=0))


@dataclass(frozen=True, slots=True)
class WithinSpecies:
    """Variation within species against the differences between them."""

    orthogonal: Measure
    """Share of the variance within species that lies outside of the span of all species means. Chance is a span of as many random
    directions; ``more`` has ``shuffled`` and the number of ``directions``."""
    main_orthogonal: Measure
    """The same outside of the main directions, which carry 95% of the variance between species."""
    overlap: Measure
    """Variation within species along the differences between species, as a multiple of that along a random direction: 0 is
    orthogonal, 1 is chance. ``more`` has ``same_shape``, the value if species differed as their individuals do, and ``relative``,
    the overlap as a share of that: features that use few of their dimensions have a high overlap whatever varies in them."""


def within_species(space: Space, unit: Rank = Rank.SPECIES, *, draws: int = DRAWS, seed: int = 0) -> WithinSpecies:
    """Measure how variation within species lies to the differences between species.

    Each species weighs the same. Species with fewer than two images in a half give no residuals there; those with fewer than two
    groups are not in both halves. The intervals are over species (or clades of ``unit``), for the span as it is.

    Args:
        space: the images.
        unit: rank of the clades that are independent units.
        draws: number of draws of halves.
        seed: seed of the draws.
    """
    nothing = _unusable(space)
    if nothing is not None:
        return WithinSpecies(nothing, nothing, nothing)
    sums = _Sums(len(space.taxa), space.dimension)
    rng = np.random.default_rng([seed, 17])
    for side_N in splits(space.species_N, space.group_N, draws, seed):
        sums.add(space, side_N, rng)
    return WithinSpecies(
        sums.share(space, unit, sums.inside_T, "all", sums.directions),
        sums.share(space, unit, sums.main_T, "main", sums.main_directions),
        sums.overlap(space, unit),
    )


def _unusable(space: Space) -> Measure | None:
    if len(space.taxa) < 3:
        return missing(
            f"{len(space.taxa)} species: at least three are needed for differences between species", of="images"
        )
    groups_T = np.bincount(np.unique(np.stack([space.species_N, space.group_N]), axis=1)[0], minlength=len(space.taxa))
    enough = int(((groups_T >= 2) & (space.counts_T >= 4)).sum())
    if enough < 3:
        return missing(
            f"{enough} species have four images in two groups: with halves of one image, nothing varies within a species",
            of="images",
        )
    return None


def residuals(
    values_ND: NDArray[np.float64], class_N: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return deviations from class means, and the weight of each row: 1 / (n - 1), 0 in a class of one."""
    counts_C = np.bincount(class_N, minlength=classes)
    weight_C = np.where(counts_C > 1, 1.0 / np.maximum(counts_C - 1, 1), 0.0)
    return values_ND - class_means(values_ND, class_N, classes)[class_N], weight_C[class_N]


@dataclass(slots=True)
class _Sums:
    """Sums over draws, by species."""

    species: int
    dimension: int
    total_T: NDArray[np.float64] = field(init=False)
    inside_T: NDArray[np.float64] = field(init=False)
    main_T: NDArray[np.float64] = field(init=False)
    along_TT: NDArray[np.float64] = field(init=False)
    """Product of the variance within one species and the agreed difference of another from the mean."""
    between_T: NDArray[np.float64] = field(init=False)
    shuffled: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)
    directions: list[int] = field(default_factory=list)
    main_directions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total_T, self.inside_T, self.main_T, self.between_T = (np.zeros(self.species) for _ in range(4))
        self.along_TT = np.zeros((self.species, self.species))

    def add(self, space: Space, side_N: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Add residuals of the images that are not of the side, and the span of the side's means."""
        count, own_N, other_N = self.species, space.species_N[side_N], space.species_N[~side_N]
        first_TD = class_means(space.features_ND[side_N], own_N, count)
        second_TD = class_means(space.features_ND[~side_N], other_N, count)
        span = span_of(first_TD, second_TD)
        residual_MD, weight_M = residuals(space.features_ND[~side_N], other_N, count)
        self.total_T += _by_species(np.square(residual_MD).sum(axis=1) * weight_M, other_N, count)
        square_MK = np.square(residual_MD @ span.directions_DK)
        self.inside_T += _by_species(square_MK.sum(axis=1) * weight_M, other_N, count)
        self.main_T += _by_species(square_MK[:, : span.main].sum(axis=1) * weight_M, other_N, count)
        self.directions.append(span.directions_DK.shape[1])
        self.main_directions.append(span.main)
        shuffled_TD = class_means(space.features_ND[side_N], rng.permutation(own_N), count)
        inside_M = np.square(residual_MD @ span_of(shuffled_TD, shuffled_TD).directions_DK).sum(axis=1)
        self.shuffled.append(
            1 - float(inside_M @ weight_M) / max(float(np.square(residual_MD).sum(axis=1) @ weight_M), 1e-300)
        )
        self._add_overlap(first_TD, second_TD, residual_MD, weight_M, other_N)
        other_MD, other_weight_M = residuals(space.features_ND[side_N], own_N, count)
        self.same.append(_same_shape(residual_MD, weight_M, other_MD, other_weight_M, self.dimension))

    def _add_overlap(
        self,
        first_TD: NDArray[np.float64],
        second_TD: NDArray[np.float64],
        residual_MD: NDArray[np.float64],
        weight_M: NDArray[np.float64],
        species_M: NDArray[np.int64],
    ) -> None:
        both_T = np.isfinite(first_TD).all(axis=1) & np.isfinite(second_TD).all(axis=1)
        first, second = first_TD[both_T], second_TD[both_T]
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        self.between_T[both_T] += (first * second).sum(axis=1)
        product_MS = (residual_MD @ first.T) * (residual_MD @ second.T) * weight_M[:, None]
        count_T = np.bincount(species_M, minlength=self.species)
        along_TS = np.nan_to_num(class_means(product_MS, species_M, self.species)) * count_T[:, None]
        self.along_TT[:, both_T] += along_TS

    def share(
        self, space: Space, unit: Rank, inside_T: NDArray[np.float64], kind: str, directions: list[int]
    ) -> Measure:
        size: dict[str, Any] = {"of": "species", "unit": unit.value, "n": int((self.total_T > 0).sum())}
        number = float(np.mean(directions))
        more = {"directions": number, "dimension": self.dimension}
        if self.total_T.sum() <= 1e-12 * len(self.directions):
            return missing("the images of each species are equal: nothing varies within species", more=more, **size)
        if kind == "all" and min(directions) >= self.dimension:
            return missing(
                f"the means of {len(space.taxa)} species span all {self.dimension} dimensions: nothing can lie outside of them", more=more,
                **size,
            )  # fmt: skip
        if kind == "main" and min(directions) == 0:
            return missing("the two halves of the images agree on no difference between species", more=more, **size)
        counted_T = np.flatnonzero(self.total_T > 0)
        inside, total = inside_T[counted_T], self.total_T[counted_T]
        spread = jackknife(
            lambda keep: float(1 - inside[keep].sum() / total[keep].sum()), space.units(unit)[counted_T], scale="share"
        )
        if kind == "all":
            more |= {"shuffled": float(np.mean(self.shuffled))}
        return Measure(
            float(1 - inside.sum() / total.sum()), spread.ci95, 1 - number / self.dimension, units=spread.units, reason=spread.reason,
            more=more, samples=spread.samples, **size,
        )  # fmt: skip

    def overlap(self, space: Space, unit: Rank) -> Measure:
        size: dict[str, Any] = {"of": "species", "unit": unit.value, "n": int((self.total_T > 0).sum())}
        if self.total_T.sum() <= 1e-12 * len(self.directions):
            return missing("the images of each species are equal: nothing varies within species", **size)
        if self.between_T.sum() <= 0:
            return missing("the two halves of the images agree on no difference between species", **size)

        def ratio(keep_T: NDArray[np.bool_]) -> float:
            between, within = self.between_T[keep_T].sum(), self.total_T[keep_T].sum()
            draws = len(
                self.directions
            )  # a product of two sums over draws has draws² terms, one sum of products only draws
            along = self.along_TT[np.ix_(keep_T, keep_T)].sum() * draws
            return float(self.dimension * along / (between * within)) if between > 0 and within > 0 else float("nan")

        whole, same = ratio(np.ones(self.species, dtype=bool)), float(np.mean(self.same))
        spread = jackknife(ratio, space.units(unit), scale="plain")
        varied = effective_groups(
            space.units(unit)[self.total_T > 0].tolist()
        )  # species of few images give a mean alone
        return Measure(
            whole, spread.ci95, 1.0, units=min(spread.units, varied), reason=spread.reason, samples=spread.samples,
            more={"same_shape": same, "relative": whole / same, "dimension": self.dimension}, **size,
        )  # fmt: skip


def relative(overlap: Measure) -> Measure:
    """Return an overlap as a share of what it were if species differed as their individuals do, for models of other dimensions.

    0 is orthogonal, and 1 the same directions; there is no level of chance.
    """
    if overlap.is_missing:
        return overlap
    same = overlap.more["same_shape"]
    scaled = {name: one.times(1 / same) for name, one in overlap.samples.items() if isinstance(one, Replicates)}
    return replace(
        overlap, value=overlap.value / same, ci95=(overlap.ci95[0] / same, overlap.ci95[1] / same), chance=float("nan"), samples=scaled
    )  # fmt: skip


def _same_shape(
    first_MD: NDArray[np.float64],
    first_weight_M: NDArray[np.float64],
    second_MD: NDArray[np.float64],
    second_weight_M: NDArray[np.float64],
    dimension: int,
) -> float:
    """Return D tr(W₁ W₂) / (tr W₁ tr W₂) of the variation within species in two halves."""
    first, second = first_MD * np.sqrt(first_weight_M)[:, None], second_MD * np.sqrt(second_weight_M)[:, None]
    both = (
        float(np.square(first @ second.T).sum())
        if len(first) * len(second) < dimension**2
        else float(np.vdot(first.T @ first, second.T @ second))
    )
    lengths = float(np.square(first).sum() * np.square(second).sum())
    return dimension * both / lengths if lengths > 0 else float("nan")


def _by_species(value_M: NDArray[np.float64], species_M: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    return np.bincount(species_M, weights=value_M, minlength=count).astype(np.float64)


def splits(
    species_N: NDArray[np.int64], group_N: NDArray[np.int64], draws: int, seed: int
) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of the halves that spans are made of, each draw in both directions."""
    for draw in range(draws):
        first_N = halves(species_N, group_N, seed * 1000 + draw)
        yield from (first_N, ~first_N)
