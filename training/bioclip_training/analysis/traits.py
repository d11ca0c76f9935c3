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

BEYOND_TREE = "beyond_tree"
_FEWEST_SPECIES = 3
"""Species with a value: two make a single pair, which has no order."""


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

    def lacking(self, names: Sequence[str], of: str) -> str:
        """Return why nothing can be said of the trait, with the first example: it has too few values, or equal ones; else empty.

        Args:
            names: names of the species of the values.
            of: what has the values: ``species`` or ``images``.
        """
        places = np.flatnonzero(self.known)
        if not len(places):
            return f"none of {len(names)} {of} has a value (the first without: {names[0]})"
        having = list(dict.fromkeys(names[place] for place in places.tolist()))
        if len(having) < _FEWEST_SPECIES:
            return (
                f"{len(having)} of {len(set(names))} species {'has' if len(having) == 1 else 'have'} a value (the first: {having[0]}), and "
                f"{_FEWEST_SPECIES} are needed"
            )
        if np.ptp(self.values[places]) > 0:
            return ""
        value = f"{self.values[places[0]]:g}" if self.is_numeric else self.words[int(self.values[places[0]])]
        return f"all {len(places)} values are {value} (the first: {having[0]}), and nothing follows from equal ones"

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
    if reason := trait.lacking([taxon.name for taxon in space.taxa], "species"):
        return missing(reason, unit=unit.value)
    pairs = _Pairs.of(space, trait, metric)
    if pairs.are_equal:
        return missing("the prototypes of all species are equal, or have no direction", unit=unit.value)
    unit_T = clades(pairs.taxa, unit)
    spread, beyond_spread = (
        jackknife(statistic, unit_T, scale="correlation") for statistic in (pairs.correlation, pairs.beyond_tree)
    )
    everything = np.ones(len(pairs.taxa), dtype=bool)
    within = within or _lowest_varying(pairs.taxa, pairs.trait)
    ranked = [_ranks_of(matrix, pairs.upper_TT) for matrix in (pairs.distance_TT, pairs.difference_TT)]
    test: dict[str, Any] = {"permutations": permutations, "seed": seed}
    p_within = mantel_p(ranked[0], ranked[1], within_T=clades(pairs.taxa, within), **test) if within else float("nan")
    beyond = {BEYOND_TREE: beyond_spread.replicates} if beyond_spread.replicates else {}
    return Measure(
        pairs.correlation(everything), spread.ci95, 0.0, mantel_p(ranked[0], ranked[1], **test), n=len(pairs.taxa), units=spread.units,
        unit=unit.value, reason=spread.reason, samples={**spread.samples, **beyond},
        more={
            "tree": spearman(pairs.height_TT[pairs.upper_TT], pairs.difference_TT[pairs.upper_TT]),
            BEYOND_TREE: pairs.beyond_tree(everything), "beyond_tree_ci95": list(beyond_spread.ci95), "p_within": p_within,
            "within": within.value if within else "", "kind": "numeric" if trait.is_numeric else "categorical",
            "without_value": len(space.taxa) - len(pairs.taxa),
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of the species that have a value."""

    taxa: Sequence[Taxon]
    trait: Trait
    distance_TT: NDArray[np.float64]
    difference_TT: NDArray[np.float64]
    height_TT: NDArray[np.float64]
    upper_TT: NDArray[np.bool_]

    @classmethod
    def of(cls, space: Space, trait: Trait, metric: str) -> _Pairs:
        places = np.flatnonzero(trait.known)
        known = Trait(trait.name, trait.values[places], trait.words)
        height_TT = space.heights_TT[np.ix_(places, places)].astype(np.float64)
        return cls(
            [space.taxa[place] for place in places], known, distances(space.prototypes_TD[places], metric), known.differences(), height_TT,
            np.triu(np.ones(height_TT.shape, dtype=bool), 1),
        )  # fmt: skip

    @property
    def are_equal(self) -> bool:
        """True if all distances are equal, or one of them has no value."""
        distance_TT = self.distance_TT
        return not np.isfinite(distance_TT).all() or np.ptp(np.round(distance_TT[self.upper_TT], 9)) == 0

    def correlation(self, keep_T: NDArray[np.bool_]) -> float:
        pairs = self.upper_TT & keep_T[:, None] & keep_T
        return spearman(self.distance_TT[pairs], self.difference_TT[pairs])

    def beyond_tree(self, keep_T: NDArray[np.bool_]) -> float:
        pairs = self.upper_TT & keep_T[:, None] & keep_T
        return partial_spearman(self.distance_TT[pairs], self.difference_TT[pairs], self.height_TT[pairs])


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
