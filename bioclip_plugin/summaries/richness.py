"""Accumulation of taxa over camera-days, and Chao's estimates of how many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.summaries.effort import CameraEffort, number
from bioclip_plugin.summaries.sightings import Events, different_pairs
from bioclip_training.evidence.intervals import Interval

_POINTS = 200
_NORMAL = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A lower bound of the number of taxa, with its 95% interval."""

    value: float
    standard_error: float
    ci95: Interval
    once: int
    """Taxa with one event, or on one camera-day."""
    twice: int


@dataclass(frozen=True, slots=True)
class Accumulation:
    """Number of taxa by number of camera-days, in random orders of the days."""

    observed: int
    days_P: NDArray[np.int64]
    """Numbers of camera-days, ascending; the last one is all of them."""
    mean_P: NDArray[np.float64]
    low_P: NDArray[np.float64]
    """2.5th percentile over the orders; all orders end at the same number of taxa."""
    high_P: NDArray[np.float64]
    permutations: int
    chao1: Estimate
    """From counts of events (Chao 1984)."""
    chao2: Estimate
    """From the camera-days on which a taxon was seen (Chao 1987)."""

    columns = ("camera_days", "taxa", "low", "high")

    @property
    def richness(self) -> Richness:
        """The numbers at its end."""
        return Richness(self.observed, self.chao1, self.chao2)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per point of the curve."""
        points = zip(self.days_P.tolist(), self.mean_P, self.low_P, self.high_P, strict=True)
        return [dict(zip(self.columns, (days, *map(number, values)), strict=True)) for days, *values in points]


@dataclass(frozen=True, slots=True)
class Richness:
    """Observed and estimated numbers of taxa."""

    observed: int
    chao1: Estimate
    chao2: Estimate

    columns = ("estimate", "taxa", "low", "high", "standard_error", "seen_once", "seen_twice")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per estimate, first the observed number."""
        rows: list[tuple[Any, ...]] = [("observed", self.observed, "", "", "", "", "")]
        for name, one in (("Chao1, from events", self.chao1), ("Chao2, from camera-days", self.chao2)):
            rows.append((name, *map(number, (one.value, *one.ci95, one.standard_error)), one.once, one.twice))
        return [dict(zip(self.columns, row, strict=True)) for row in rows]


def accumulation_of(
    events: Events, efforts: Sequence[CameraEffort], permutations: int = 200, seed: int = 0
) -> Accumulation | None:
    """Return the accumulation of taxa over camera-days; None without events.

    A camera-day is a calendar day on which a camera was at work, at least for a part of it. Camera-days are put into random
    orders (Gotelli and Colwell 2001), whole days of single cameras, as if they were independent.

    Args:
        events: events within the effort of their cameras.
        efforts: the effort of every camera, those of ``events`` first.
        permutations: number of random orders.
        seed: of the orders.
    """
    if not len(events.taxon_E):
        return None
    lengths_C = [
        one.last_day - one.first_day + 1
        if one.is_known and one.first_day is not None and one.last_day is not None
        else 0
        for one in efforts
    ]
    begins_C = np.concatenate([[0], np.cumsum(lengths_C)])
    firsts_C = np.array([one.first_day or 0 for one in efforts])
    total = int(begins_C[-1])
    units_E = begins_C[events.camera_E] + events.days - firsts_C[events.camera_E]
    taxon_I, unit_I = different_pairs(events.taxon_E, units_E)
    seen, taxon_I = np.unique(taxon_I, return_inverse=True)
    days_P = np.unique(np.linspace(1, total, min(total, _POINTS)).round().astype(np.int64))
    counts_RP = np.empty((permutations, len(days_P)))
    random = np.random.default_rng(seed)
    for row in counts_RP:
        place_I = random.permutation(total)[unit_I]
        first_T = np.full(len(seen), total)
        np.minimum.at(first_T, taxon_I, place_I)
        row[:] = np.searchsorted(np.sort(first_T), days_P)
    low_P, high_P = np.quantile(counts_RP, (0.025, 0.975), axis=0)
    by_events = np.bincount(events.taxon_E)
    by_days = np.bincount(taxon_I)
    return Accumulation(
        len(seen),
        days_P,
        counts_RP.mean(0),
        low_P,
        high_P,
        permutations,
        chao(by_events[by_events > 0], int(by_events.sum())),
        chao(by_days, total),
    )


def chao(counts_T: NDArray[np.int64], units: int) -> Estimate:
    """Return Chao's lower bound of the number of taxa with its log-normal 95% interval.

    With counts of individuals or events and their sum it is Chao1 (Chao 1984), with counts of sampling units and their number
    Chao2 (Chao 1987), both with the correction for few units; without any taxon that was seen twice, the form of Chao (2005)
    that needs none. Interval: Chao 1987, variances as in Chao and Chiu (2016).

    Args:
        counts_T: events of each observed taxon, or units in which it was seen; all above zero.
        units: sum of the events, or number of units.
    """
    observed, once, twice = len(counts_T), int((counts_T == 1).sum()), int((counts_T == 2).sum())
    share = (units - 1) / units
    if twice:
        ratio = once / twice
        unseen = share * once * ratio / 2
        variance = twice * (share * ratio**2 / 2 + share**2 * ratio**3 + share**2 * ratio**4 / 4)
    else:
        unseen = share * once * (once - 1) / 2
        variance = share * once * (once - 1) / 2 + share**2 * once * (2 * once - 1) ** 2 / 4
        if unseen:
            variance -= share**2 * once**4 / (4 * (observed + unseen))
    if not unseen:
        return Estimate(float(observed), 0.0, (float(observed), float(observed)), once, twice)
    spread = math.exp(_NORMAL * math.sqrt(math.log(1 + max(variance, 0.0) / unseen**2)))
    ends = (observed + unseen / spread, observed + unseen * spread)
    return Estimate(observed + unseen, math.sqrt(max(variance, 0.0)), ends, once, twice)
