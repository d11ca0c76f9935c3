"""Traits of species: rank correlation with distance in feature space, and prediction by a linear probe for species never seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.cells import is_unknown, number_of
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.analysis.measure import Measure, missing
from bioclip_training.analysis.ranked import midranks, partial_spearman, spearman
from bioclip_training.analysis.resampling import jackknife, mantel_p
from bioclip_training.analysis.space import Space, distances
from bioclip_training.analysis.tree import clades


@dataclass(frozen=True, slots=True)
class Trait:
    """One trait of T species (or of N images): numbers, or words."""

    name: str
    values: NDArray[np.float64]
    """Numbers, or the place of each word in ``words``; NaN is not known."""
    words: tuple[str, ...] = ()
    """The words of a categorical trait; empty for a numeric one."""

    @classmethod
    def of(cls, name: str, cells: Sequence[Any], kind: str = "auto") -> Trait:
        """Read a trait from cells: numeric if all that are not empty are finite numbers, else categorical.

        Args:
            name: its name.
            cells: numbers or texts; None, NaN, an empty text and marks such as NA are not known.
            kind: ``numeric``, ``categorical`` or ``auto``.

        Raises:
            UsageError: for a numeric trait with a cell that is not a number.
        """
        texts = ["" if is_unknown(cell) else " ".join(str(cell).split()) for cell in cells]
        numbers = [float("nan") if (number := number_of(text)) is None else number for text in texts]
        wrong = next((text for text, number in zip(texts, numbers, strict=True) if text and math.isnan(number)), None)
        if kind == "numeric" and wrong is not None:
            raise UsageError(f"trait {name}: {wrong!r} is not a number, and the trait was said to be numeric")
        if kind == "numeric" or (kind == "auto" and wrong is None):
            return cls(name, np.array(numbers, dtype=np.float64))
        words = tuple(sorted({text.casefold() for text in texts if text}))
        place = {word: number for number, word in enumerate(words)}
        return cls(name, np.array([place.get(text.casefold(), np.nan) for text in texts], dtype=np.float64), words)

    @property
    def is_numeric(self) -> bool:
        return not self.words

    @property
    def known(self) -> NDArray[np.bool_]:
        """A mask of the values that are known."""
        return np.isfinite(self.values)

    def differences(self) -> NDArray[np.float64]:
        """Return T×T differences: of numbers their absolute difference, of words 0 for the same and 1 for others."""
        difference_TT = np.abs(self.values[:, None] - self.values)
        return difference_TT if self.is_numeric else (difference_TT > 0).astype(np.float64)


def trait_correlation(
    space: Space,
    trait: Trait,
    unit: Rank = Rank.SPECIES,
    *,
    within: Rank | None = None,
    metric: str = "cosine",
    permutations: int = 999,
    seed: int = 0,
) -> Measure:
    """Return the rank correlation of distance between prototypes with difference in a trait.

    Relatives resemble each other in features and in traits, so a correlation alone does not show that features follow the trait.
    ``more`` therefore has ``tree``, the correlation of the trait with height in the tree; ``beyond_tree``, the rank correlation
    that is left with height held, and its interval; and ``p_within``, of permutations inside the clades of ``within`` alone.

    Args:
        space: the images.
        trait: one value per species of ``space.taxa``; unknown ones are left out.
        unit: rank of the clades that are left out as wholes for the interval.
        within: rank of the clades that the second test permutes in; None: the lowest rank within whose clades the trait differs.
        metric: ``cosine`` or ``euclidean``.
        permutations: of each test.
        seed: seed of the tests.
    """
    places = np.flatnonzero(trait.known)
    if len(places) < 3 or np.ptp(trait.values[places]) == 0:
        return missing(
            f"{trait.name}: {len(places)} species have a value, and fewer than 3 or all equal ones show nothing",
            unit=unit.value,
        )
    known = Trait(trait.name, trait.values[places], trait.words)
    taxa = [space.taxa[place] for place in places]
    distance_TT = distances(space.prototypes_TD[places], metric)
    difference_TT, height_TT = known.differences(), space.heights_TT[np.ix_(places, places)].astype(np.float64)
    upper_TT = np.triu(np.ones(height_TT.shape, dtype=bool), 1)
    if not np.isfinite(distance_TT).all() or np.ptp(np.round(distance_TT[upper_TT], 9)) == 0:
        return missing("the prototypes of all species are equal, or have no direction", unit=unit.value)
    unit_T = clades(taxa, unit)

    def of(keep_T: NDArray[np.bool_]) -> float:
        pairs = upper_TT & keep_T[:, None] & keep_T
        return spearman(distance_TT[pairs], difference_TT[pairs])

    def beyond(keep_T: NDArray[np.bool_]) -> float:
        pairs = upper_TT & keep_T[:, None] & keep_T
        return partial_spearman(distance_TT[pairs], difference_TT[pairs], height_TT[pairs])

    everything = np.ones(len(places), dtype=bool)
    spread, beyond_spread = (jackknife(statistic, unit_T, scale="correlation") for statistic in (of, beyond))
    within = within or _lowest_varying(taxa, known)
    ranked = [_ranks_of(matrix, upper_TT) for matrix in (distance_TT, difference_TT)]
    test: dict[str, Any] = {"permutations": permutations, "seed": seed}
    p_within = mantel_p(ranked[0], ranked[1], within_T=clades(taxa, within), **test) if within else float("nan")
    return Measure(
        of(everything), spread.ci95, 0.0, mantel_p(ranked[0], ranked[1], **test), n=len(places), units=spread.units,
        unit=unit.value, reason=spread.reason,
        more={
            "tree": spearman(height_TT[upper_TT], difference_TT[upper_TT]), "beyond_tree": beyond(everything),
            "beyond_tree_ci95": list(beyond_spread.ci95), "p_within": p_within, "within": within.value if within else "",
            "kind": "numeric" if trait.is_numeric else "categorical", "without_value": len(space.taxa) - len(places),
        },
    )  # fmt: skip


def _ranks_of(matrix_TT: NDArray[np.float64], upper_TT: NDArray[np.bool_]) -> NDArray[np.float64]:
    ranks_TT = np.zeros(matrix_TT.shape)
    ranks_TT[upper_TT] = midranks(matrix_TT[upper_TT])
    return ranks_TT + ranks_TT.T


def _lowest_varying(taxa: Sequence[Taxon], trait: Trait) -> Rank | None:
    """Return the lowest rank above the species within whose clades a trait differs, so that permutations change something."""
    for rank in reversed(RANKS[:-1]):
        clade_T = clades(taxa, rank)
        if any(np.ptp(trait.values[clade_T == clade]) > 0 for clade in np.unique(clade_T)):
            return rank
    return None
