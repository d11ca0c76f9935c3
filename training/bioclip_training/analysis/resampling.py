"""Intervals by a jackknife over independent units, and Mantel's permutation test, for statistics of pairs.

Pairs of species are not independent: each species is in T - 1 of them, and relatives resemble each other. The jackknife leaves out
whole units (species, genera, families) with all of their pairs; unequal units are weighted as by Busing, Meijer and van der Leeden
(1999). It has no draws in it, so equal data give equal intervals, and, unlike a bootstrap, it never makes a pair of a species with
its own copy, whose distance of zero fits every tree. The difference of two models is that of their statistics without the same units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_training.analysis.measure import Replicates, Sample
from bioclip_training.evidence.intervals import Interval, binomial_interval, t_quantile
from bioclip_training.evidence.minima import FEWEST_TO_DIFFER, effective_groups

MOST_BLOCKS = 60
"""Blocks that units are joined into, so that a statistic of all pairs is computed at most this often for an interval."""
_CLOSEST_TO_ONE = 1 - 1e-9
_ROUNDING = 1e-12
_BOUNDS = {"share": (0.0, 1.0), "correlation": (-1.0, 1.0)}
_SAME = 1e-10
"""Permuted statistics this close to the observed one are equal to it: sums in another order differ in the last digits."""


@dataclass(frozen=True, slots=True)
class Spread:
    """An interval and what it rests on."""

    ci95: Interval
    units: float
    """Effective number of units."""
    reason: str = ""
    """Why there is no interval; empty if there is one."""
    replicates: Replicates | None = None
    """The values behind it; None for too few units."""

    @property
    def samples(self) -> dict[str, Sample]:
        """What a measure needs for its difference from that of another model."""
        return {} if self.replicates is None else {"": self.replicates}


def jackknife(
    statistic: Callable[[NDArray[np.bool_]], float],
    unit_P: NDArray[np.int64],
    *,
    scale: str = "plain",
) -> Spread:
    """Return the 95% interval of a statistic that is computed with some units left out.

    Args:
        statistic: takes a mask of the points that are kept; its value with all of them is the estimate.
        unit_P: the unit of each point.
        scale: ``correlation`` is symmetric on Fisher's z scale, ``ratio`` on the logarithmic one, ``share`` on the logit one. At the
            end of its range a share or correlation has the exact interval of a share of as many draws, since a jackknife has no
            width there.

    Returns:
        Both ends; NaN with a reason for fewer than six units, or if the statistic depends on a single unit.
    """
    units = effective_groups(unit_P.tolist())
    block_P = _blocks(unit_P)
    blocks = int(block_P.max()) + 1 if len(block_P) else 0
    nothing = (float("nan"), float("nan"))
    if units < FEWEST_TO_DIFFER - 1e-6:
        return Spread(nothing, units, f"fewer than {FEWEST_TO_DIFFER} independent units ({units:.1f})")
    to, back = _SCALES[scale]
    value = statistic(np.ones(len(unit_P), dtype=bool))
    values_B = np.array([statistic(block_P != block) for block in range(blocks)])
    kept = Replicates(value, values_B, unit_P)
    if scale in _BOUNDS and (at_bound := _at_bound(value, units, *_BOUNDS[scale])) is not None:
        return Spread(at_bound, units, replicates=kept)
    whole, without_B = to(value), np.array([to(one) for one in values_B.tolist()])
    if not np.isfinite(whole) or not np.isfinite(without_B).all():
        return Spread(nothing, units, "it cannot be computed without one of the units", kept)
    reach = _reach(whole, without_B, block_P, units)
    return Spread((float(back(whole - reach)), float(back(whole + reach))), units, replicates=kept)


def difference_spread(first: Replicates, second: Replicates) -> Spread:
    """Return the 95% interval of the difference of one statistic of two models, with the same units left out of both.

    What units have in common (a family that lies far from the others in both models) cancels, as in a paired test.
    """
    units = effective_groups(first.unit_P.tolist())
    whole, without_B = first.whole - second.whole, first.without_B - second.without_B
    if not np.isfinite(whole) or not np.isfinite(without_B).all():
        return Spread((float("nan"), float("nan")), units, "it cannot be computed without one of the units")
    reach = _reach(whole, without_B, _blocks(first.unit_P), units)
    return Spread((whole - reach, whole + reach), units, replicates=Replicates(whole, without_B, first.unit_P))


def _reach(whole: float, without_B: NDArray[np.float64], block_P: NDArray[np.int64], units: float) -> float:
    """Return how far the interval reaches to each side, from the statistic without each block."""
    blocks, size_B = len(without_B), np.bincount(block_P) / len(block_P)
    estimate = blocks * whole - float((1 - size_B) @ without_B)
    pseudo_B = whole / size_B - (1 / size_B - 1) * without_B
    variance = float((np.square(pseudo_B - estimate) / (1 / size_B - 1)).mean())
    return t_quantile(min(units, blocks) - 1) * float(np.sqrt(variance))


def _at_bound(value: float, units: float, low: float, high: float) -> Interval | None:
    """Return the interval of a statistic at the end of its range, where units do not differ: the exact one of as many draws."""
    share = (value - low) / (high - low)
    if not (share <= _ROUNDING or share >= 1 - _ROUNDING):
        return None
    ends = binomial_interval(round(share) * units, units)
    return low + ends[0] * (high - low), low + ends[1] * (high - low)


def permutation_p(observed: float, permuted: NDArray[np.float64]) -> float:
    """Return the one-sided p of a permutation test; the observed order is one of the permutations, so it is never 0.

    Phipson and Smyth (2010). Equal values count as at least as large, also if they differ in the last digits.
    """
    if not np.isfinite(observed) or not len(permuted):
        return float("nan")
    return float((1 + np.count_nonzero(permuted >= observed - _SAME * max(1.0, abs(observed)))) / (1 + len(permuted)))


def mantel_p(
    first_TT: NDArray[np.float64],
    second_TT: NDArray[np.float64],
    *,
    permutations: int = 999,
    seed: int = 0,
    within_T: NDArray[np.int64] | None = None,
) -> float:
    """Return Mantel's (1967) one-sided p of the correlation of two distance matrices, of whose ranks Spearman's is made.

    The species of one matrix are permuted as wholes; permuting pairs would take each for an observation of its own.

    Args:
        first_TT: symmetric distances (or ranks of them).
        second_TT: the same of another kind.
        permutations: number of permutations beside the observed order.
        seed: seed of the permutations.
        within_T: strata (a clade of each species) within which alone species are permuted, so that agreement which the strata
            explain is in every permutation; None: all of them.

    Returns:
        NaN if one of the matrices is constant, or no stratum has two species.
    """
    upper = np.triu_indices(len(first_TT), 1)
    a, b = first_TT[upper], second_TT[upper]
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    strata = [np.arange(len(first_TT))] if within_T is None else _members(within_T)
    if not strata:
        return float("nan")
    centred_TT, second = first_TT - a.mean(), np.asarray(second_TT, dtype=np.float64)
    np.fill_diagonal(centred_TT, 0.0)
    scale = 2 * np.linalg.norm(a - a.mean()) * np.linalg.norm(b - b.mean())
    rng = np.random.default_rng([seed, 7])
    observed = float((centred_TT * second_TT).sum() / scale)
    permuted, rows_TT, permuted_TT = np.empty(permutations), np.empty_like(second), np.empty_like(second)
    for draw in range(permutations):
        order = np.arange(len(first_TT))
        for members in strata:
            order[members] = members[rng.permutation(len(members))]
        np.take(second, order, 0, out=rows_TT, mode="clip")  # with "clip" it writes without a copy between
        np.take(rows_TT, order, 1, out=permuted_TT, mode="clip")
        permuted[draw] = float(np.vdot(centred_TT, permuted_TT) / scale)
    return permutation_p(observed, permuted)


def _members(within_T: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    found = [np.flatnonzero(within_T == stratum) for stratum in np.unique(within_T)]
    return [members for members in found if len(members) > 1]


def _blocks(unit_P: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the block of each point: its unit, or one of at most ``MOST_BLOCKS`` into which units are dealt, the largest first."""
    units, number_P, size_U = np.unique(unit_P, return_inverse=True, return_counts=True)
    if len(units) <= MOST_BLOCKS:
        return np.asarray(number_P, dtype=np.int64)
    block_U, filled_B = np.empty(len(units), dtype=np.int64), np.zeros(MOST_BLOCKS)
    for unit in np.lexsort((np.arange(len(units)), -size_U)):
        block_U[unit] = int(filled_B.argmin())
        filled_B[block_U[unit]] += size_U[unit]
    return np.asarray(block_U[number_P])


def _z(value: float) -> float:
    return float(np.arctanh(np.clip(value, -_CLOSEST_TO_ONE, _CLOSEST_TO_ONE)))


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else float("nan")


def _logit(value: float) -> float:
    kept = np.clip(value, _ROUNDING, 1 - _ROUNDING)
    return float(np.log(kept / (1 - kept)))


_SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "plain": (float, float),
    "correlation": (_z, lambda value: float(np.tanh(value))),
    "ratio": (_log, lambda value: float(np.exp(value))),
    "share": (_logit, lambda value: float(1 / (1 + np.exp(-value)))),
}
