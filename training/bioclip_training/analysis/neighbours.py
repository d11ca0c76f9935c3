"""Purity of nearest neighbours: whether the nearest image, or species, is of the same clade, and beyond the clade below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import RANKS, Rank
from bioclip_training.analysis.measure import Hits, Measure, missing
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.tree import HIGHEST
from bioclip_training.evidence.intervals import share_interval
from bioclip_training.evidence.minima import effective_groups

BEYOND = "beyond"
_PASS = 512
_EQUAL = 1e-9
"""Cosines this close to the highest one are equal to it: sums in another order differ in the last digits."""


def nearest_purity(space: Space, unit: Rank = Rank.SPECIES, *, of: str = "images") -> dict[Rank, Measure]:
    """Return, for each rank, the share of nearest neighbours of the same clade. ``more`` has the stricter ``beyond``.

    ``images``: the nearest image outside of the image's own group. ``species``: the nearest other prototype. ``beyond`` looks for
    the nearest one outside of the clade one rank lower: a neighbour of the same genus is of the same family anyway, so plain
    purity of high ranks says little. A query counts where a neighbour of its clade exists; chance is the mean share of such
    candidates. Equal neighbours count in shares.

    Args:
        space: the images.
        unit: rank of the clades that are independent units for the intervals.
        of: ``images`` or ``species``.
    """
    points = space.features_ND if of == "images" else space.prototypes_TD
    species_P = space.species_N if of == "images" else np.arange(len(space.taxa))
    group_P = space.group_N if of == "images" else np.arange(len(space.taxa))
    unit_P = space.units(unit)[species_P]
    depths = range(len(RANKS)) if of == "images" else range(len(RANKS) - 1)
    lowest = RANKS[depths[-1]]  # no clade is below it
    found = _purity_at(points, space.heights_TT, species_P, group_P, depths)
    named = {}
    for rank, (plain_P, chance_P, beyond_P, beyond_chance_P) in found.items():
        asked_P = np.isfinite(plain_P)
        if not asked_P.any() or np.nanmin(chance_P) >= 1:
            why = "no two species share one" if not asked_P.any() else "all species share one"
            named[rank] = missing(f"{rank.value}: {why}, so there is nothing to find", of=of, unit=unit.value)
            continue
        named[rank] = Measure(
            float(np.nanmean(plain_P)), share_interval(plain_P, unit_P), float(np.nanmean(chance_P)), n=int(asked_P.sum()), of=of,
            units=effective_groups(unit_P[asked_P].tolist()), unit=unit.value,
            more={} if rank is lowest else _beyond(beyond_P, beyond_chance_P, unit_P),
            samples={"": Hits(plain_P, unit_P), BEYOND: Hits(beyond_P, unit_P)},
        )  # fmt: skip
    return named


def _beyond(
    beyond_P: NDArray[np.float64], chance_P: NDArray[np.float64], unit_P: NDArray[np.int64]
) -> dict[str, object]:
    asked_P = np.isfinite(beyond_P)
    if not asked_P.any():
        return {BEYOND: float("nan"), "beyond_n": 0}
    return {
        BEYOND: float(np.nanmean(beyond_P)), "beyond_ci95": list(share_interval(beyond_P, unit_P)),
        "beyond_chance": float(np.nanmean(chance_P)), "beyond_n": int(asked_P.sum()),
        "beyond_units": effective_groups(unit_P[asked_P].tolist()),
    }  # fmt: skip


def beyond_of(plain: Measure) -> Measure:
    """Return the stricter purity that a plain one has in ``more``, as a measure of its own."""
    if plain.is_missing or not plain.more.get("beyond_n"):
        return missing("no point has a neighbour beyond the rank below to find", of=plain.of, unit=plain.unit)
    low, high = plain.more["beyond_ci95"]
    return Measure(
        plain.more[BEYOND], (low, high), plain.more["beyond_chance"], n=plain.more["beyond_n"], of=plain.of,
        units=plain.more["beyond_units"], unit=plain.unit, samples={"": plain.samples[BEYOND]} if BEYOND in plain.samples else {},
    )  # fmt: skip


def _purity_at(
    points_PD: NDArray[np.float64],
    heights_TT: NDArray[np.int8],
    species_P: NDArray[np.int64],
    group_P: NDArray[np.int64],
    depths: Sequence[int],
) -> dict[Rank, tuple[NDArray[np.float64], ...]]:
    """Return hits and chance of each point at each rank, plain and beyond the rank below; NaN for a point that is not asked.

    Points of a species are right or wrong together, so that each species' nearest points stand for all of them.
    """
    length_P = np.linalg.norm(points_PD, axis=1)
    unit_PD = points_PD / np.maximum(length_P, 1e-12)[:, None]
    order_P = np.argsort(species_P, kind="stable")
    neighbours = _Neighbours(unit_PD[order_P], species_P[order_P], group_P[order_P])
    parts: dict[int, list[tuple[NDArray[np.float64], ...]]] = {depth: [] for depth in depths}
    for start in range(0, len(points_PD), _PASS):
        part = slice(start, start + _PASS)
        nearest = neighbours.of(unit_PD[part], group_P[part])
        height_QT = heights_TT[species_P[part]][:, neighbours.species_T]
        for depth in depths:
            highest = HIGHEST - 1 - depth
            right_QT = height_QT <= highest
            beyond_QT = height_QT >= highest if highest else np.ones_like(right_QT)
            parts[depth].append((*nearest.hits(right_QT), *nearest.hits(right_QT, beyond_QT)))
    return {RANKS[depth]: tuple(map(np.concatenate, zip(*found, strict=True))) for depth, found in parts.items()}


@dataclass(frozen=True, slots=True)
class _Nearest:
    """The nearest points of each species to some queries."""

    cosine_QT: NDArray[np.float64]
    """Of the nearest point of each species outside of the query's group; minus infinity if there is none."""
    ties_QT: NDArray[np.int64]
    """Number of points of the species that are equally near."""
    allowed_QT: NDArray[np.int64]
    """Number of points of the species outside of the query's group."""

    def hits(
        self, right_QT: NDArray[np.bool_], asked_QT: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the share of right ones among the nearest candidates, and among all; NaN where none is right.

        Args:
            right_QT: mask of the species that would be right.
            asked_QT: mask of the species that are candidates; None: all.
        """
        cosine_QT = self.cosine_QT if asked_QT is None else np.where(asked_QT, self.cosine_QT, -np.inf)
        allowed_QT = self.allowed_QT if asked_QT is None else np.where(asked_QT, self.allowed_QT, 0)
        highest_Q = cosine_QT.max(axis=1, keepdims=True)
        ties_QT = np.where((cosine_QT >= highest_Q - _EQUAL) & (allowed_QT > 0), self.ties_QT, 0)
        right_Q = (allowed_QT * right_QT).sum(axis=1)
        with np.errstate(invalid="ignore"):
            hit_Q = (ties_QT * right_QT).sum(axis=1) / ties_QT.sum(axis=1)
            chance_Q = right_Q / allowed_QT.sum(axis=1)
        return np.where(right_Q > 0, hit_Q, np.nan), np.where(right_Q > 0, chance_Q, np.nan)


class _Neighbours:
    """Points in the order of their species, among which nearest ones are looked for."""

    def __init__(self, unit_PD: NDArray[np.float64], species_P: NDArray[np.int64], group_P: NDArray[np.int64]) -> None:
        self._unit_PD, self._group_P = unit_PD, group_P
        self.species_T, self._start_T, self._count_T = np.unique(species_P, return_index=True, return_counts=True)
        """The species that have points, in ascending order; the first point and the number of points of each."""
        self._place_P = np.repeat(np.arange(len(self.species_T)), self._count_T)

    def of(self, unit_QD: NDArray[np.float64], group_Q: NDArray[np.int64]) -> _Nearest:
        """Return the nearest points of each species to some queries."""
        cosine_QP = unit_QD @ self._unit_PD.T
        allowed_QT = np.repeat(self._count_T[None], len(unit_QD), axis=0)
        own = np.flatnonzero(np.isin(self._group_P, group_Q))
        query, place = np.nonzero(group_Q[:, None] == self._group_P[own])
        cosine_QP[query, own[place]] = -np.inf
        np.subtract.at(allowed_QT, (query, self._place_P[own[place]]), 1)
        nearest_QT = np.maximum.reduceat(cosine_QP, self._start_T, axis=1)
        is_near_QP = cosine_QP >= (nearest_QT - _EQUAL)[:, self._place_P]
        ties_QT = np.add.reduceat(is_near_QP, self._start_T, axis=1, dtype=np.int64)
        return _Nearest(nearest_QT, ties_QT, allowed_QT)
