"""Intervals of shares and of their differences that stay honest for few groups, with numpy alone: the only ones in this project.

A bootstrap draws again from what was seen: it gives 100% to 100% if two images of two are right, and 0 to 0 if no answer
changed. The intervals here are exact ones, over the *effective* number of independent groups:

- The images of a group (a track, a specimen, an event) are one observation unless there are enough groups to show otherwise. G
  groups of different sizes count as ``1 / sum(share²)`` equal ones (Kish 1965).
- **Share**: Clopper and Pearson's (1934) exact binomial interval for that number of draws. With at least ``ENOUGH_GROUPS``
  groups, and both right and wrong images spread over ``ENOUGH_OF_EACH``, the number of draws is estimated from the spread
  between groups instead: ``p (1 - p) / variance``, with the t-distribution's allowance for the number of groups (Korn and
  Graubard 1998); never fewer than the groups nor more than the images.
- **Difference of two models on the same images** (paired): the share of changed groups and, among these, the share that changed
  for the better each have an exact interval (99% and 96%, so that both hold in 95% of cases); the difference ``changed × (2 ×
  better - 1)`` is bounded by them. It excludes zero only if a sign test over groups does. With ``ENOUGH_GROUPS`` groups and
  changes spread over ``ENOUGH_OF_EACH``, it is Bonett and Price's (2012) interval for the number of draws estimated as above.
- **One group** is one observation. It has no interval: both ends are NaN.

A fractional number of draws is meant: the beta distribution behind the exact interval takes it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

ENOUGH_GROUPS = 20
"""Effective groups from which on the spread between groups is used: an estimate from fewer is off by a third and more."""
ENOUGH_OF_EACH = 10
"""Effective groups over which right and wrong images (or changes) must be spread for such an estimate: rare events fall into few."""

_NONE: Interval = (float("nan"), float("nan"))
_OUTSIDE, _OUTSIDE_CHANGED, _OUTSIDE_BETTER = 0.05, 0.01, 0.04
_NORMAL = 1.959964
_TINY = 1e-300


def share_interval(
    values_N: NDArray[Any], groups_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None = None
) -> Interval:
    """Return the 95% interval of the mean of hits; NaN is not an observation.

    Args:
        values_N: booleans, or numbers from 0 to 1.
        groups_N: the number of each one's group, from 0.
        weights_N: the weight of each one in the mean; None weighs all equally.

    Returns:
        Both ends; NaN if the values are of one group or none.
    """
    values, group_N, weights = _observed(values_N, groups_N, weights_N)
    if len(values) == 0:
        return _NONE
    share_G = np.bincount(group_N, weights=weights)
    draws = _spread(share_G)
    if len(share_G) < 2:
        return _NONE
    mean = min(max(float(weights @ values), 0.0), 1.0)
    right_G = np.bincount(group_N, weights=weights * values)
    of_each = min(_spread(right_G), _spread(share_G - right_G))
    if draws > ENOUGH_GROUPS - 1e-6 and of_each >= ENOUGH_OF_EACH:
        draws = _estimated_draws(draws, mean * (1 - mean), _variance(right_G - mean * share_G), weights)
    return binomial_interval(mean * draws, draws)


def share_intervals(values_NM: NDArray[Any], groups_N: NDArray[np.int64]) -> list[Interval]:
    """Return the intervals of M columns of hits; NaN is not an observation."""
    return [share_interval(values_N, groups_N) for values_N in np.asarray(values_NM).T]


def macro_interval(hits_N: NDArray[Any], taxon_N: NDArray[np.int64], groups_N: NDArray[np.int64]) -> Interval:
    """Return the 95% interval of the mean over taxa of the share of hits: each taxon's images weigh one together."""
    if not len(hits_N):
        return _NONE
    return share_interval(hits_N, groups_N, 1.0 / np.bincount(taxon_N)[taxon_N])


def difference_interval(
    change_N: NDArray[Any], groups_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None = None
) -> Interval:
    """Return the 95% interval of a difference of two shares of the same images.

    Args:
        change_N: -1, 0 or 1, or numbers between, for each image: right now minus right before; NaN is not an observation.
        groups_N: the number of each one's group, from 0.
        weights_N: the weight of each one in the mean; None weighs all equally.

    Returns:
        Both ends, from -1 to 1; NaN if the images are of one group or none.
    """
    change, group_N, weights = _observed(change_N, groups_N, weights_N)
    if len(change) == 0:
        return _NONE
    share_G = np.bincount(group_N, weights=weights)
    draws = _spread(share_G)
    if len(share_G) < 2:
        return _NONE
    better, worse = float(weights @ np.maximum(change, 0.0)), float(weights @ np.maximum(-change, 0.0))
    sum_G = np.bincount(group_N, weights=weights * change)
    mean, changed_G = better - worse, np.bincount(group_N, weights=weights * np.abs(change))
    of_each = min(_spread(changed_G), _spread(share_G - sum_G), _spread(share_G + sum_G))
    if draws < ENOUGH_GROUPS - 1e-6 or of_each < ENOUGH_OF_EACH:
        return paired_interval(better * draws, worse * draws, draws)
    binomial = better + worse - mean * mean
    draws = _estimated_draws(draws, binomial, _variance(sum_G - mean * share_G), weights)
    return _adjusted_interval(better * draws, worse * draws, draws)


def _adjusted_interval(better: float, worse: float, draws: float) -> Interval:
    """Return Bonett and Price's (2012) interval of a paired difference: Wald's with one more change in each direction."""
    share_better, share_worse = (better + 1) / (draws + 2), (worse + 1) / (draws + 2)
    mean = share_better - share_worse
    reach = _NORMAL * math.sqrt((share_better + share_worse - mean * mean) / (draws + 2))
    return max(mean - reach, -1.0), min(mean + reach, 1.0)


def _estimated_draws(groups: float, binomial: float, variance: float, weights: NDArray[np.float64]) -> float:
    """Return the number of independent draws that would vary as much: not fewer than the groups, not more than the images.

    Args:
        groups: number of effective groups.
        binomial: variance of a single draw.
        variance: variance of the mean, from the spread between groups.
        weights: the images' weights.
    """
    estimated = binomial / max(variance, _TINY) * (_NORMAL / t_quantile(groups - 1)) ** 2
    return min(max(estimated, groups), 1.0 / float(np.square(weights).sum()))


def paired_interval(better: float, worse: float, draws: float) -> Interval:
    """Return the exact 95% interval of a paired difference from counts of independent groups.

    Args:
        better: groups that only the first has right.
        worse: groups that only the second has right.
        draws: all groups.
    """
    low_changed, high_changed = binomial_interval(better + worse, draws, _OUTSIDE_CHANGED)
    low_better, high_better = binomial_interval(better, better + worse, _OUTSIDE_BETTER)
    low, high = 2 * low_better - 1, 2 * high_better - 1
    return low * (low_changed if low > 0 else high_changed), high * (high_changed if high > 0 else low_changed)


@lru_cache(maxsize=4096)
def binomial_interval(right: float, draws: float, outside: float = _OUTSIDE) -> Interval:
    """Return Clopper and Pearson's exact interval of a share; from 0 to 1 without draws.

    Args:
        right: number of right draws; it and ``draws`` may be fractions.
        draws: number of independent draws.
        outside: the probability that is left outside, half on each side.
    """
    wrong = max(draws - right, 0.0)
    low = beta_quantile(outside / 2, right, wrong + 1) if right > 1e-9 else 0.0
    high = beta_quantile(1 - outside / 2, right + 1, wrong) if wrong > 1e-9 else 1.0
    return low, high


def beta_quantile(share: float, a: float, b: float) -> float:
    """Return the value below which a share of the beta distribution with parameters a and b lies."""
    low, high = 0.0, 1.0
    middle = a / (a + b)
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(200):
        excess = _beta_share(middle, a, b) - share
        low, high = (low, middle) if excess > 0 else (middle, high)
        if not 0.0 < middle < 1.0 or high - low <= 1e-15:
            break
        # Newton's step where it stays between the bounds, else their middle.
        slope = math.exp(min(log_scale + (a - 1) * math.log(middle) + (b - 1) * math.log1p(-middle), 700.0))
        step = middle - excess / slope if slope > 1e-200 else -1.0
        following = step if low < step < high else 0.5 * (low + high)
        if abs(following - middle) <= 1e-14 * max(following, 1e-6):
            return following
        middle = following
    return middle


def _beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1.0 - _beta_fraction(1 - x, b, a)
    return _beta_fraction(x, a, b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    # Lentz's method as modified by Thompson and Barnett (1986).
    value = upper = 1.0
    lower = 0.0
    for step in range(1, 10_000):
        half = step // 2
        factor = -(a + half) * (a + b + half) if step % 2 else half * (b - half)
        term = factor * x / ((a + step - 1) * (a + step))
        lower = 1.0 / _nonzero(1.0 + term * lower)
        upper = _nonzero(1.0 + term / upper)
        value *= upper * lower
        if abs(upper * lower - 1.0) < 1e-14:
            break
    return front / value


def _spread(mass_G: NDArray[Any]) -> float:
    """Return the number of equal groups over which a mass is spread as evenly (Kish 1965); 0 without any."""
    mass_G = np.where(mass_G > 1e-9 / max(len(mass_G), 1), mass_G, 0.0)
    squares = float(np.square(mass_G).sum())
    return float(mass_G.sum()) ** 2 / squares if squares > 0 else 0.0


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


@lru_cache(maxsize=1024)
def t_quantile(freedom: float) -> float:
    """Return the value that Student's t exceeds in absolute value in 5% of cases."""
    x = beta_quantile(_OUTSIDE, freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - x) / x)


def _variance(residual_G: NDArray[np.float64]) -> float:
    """Return the variance of a weighted mean from the residual sums of G groups."""
    groups = len(residual_G)
    return groups / (groups - 1) * float(np.square(residual_G).sum())


def _observed(
    values_N: NDArray[Any], groups_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the values that are numbers, their groups without gaps, and their weights, which add up to one."""
    values = np.asarray(values_N, dtype=np.float64)
    counted_N = np.isfinite(values)
    weights = np.ones(len(values)) if weights_N is None else np.asarray(weights_N, dtype=np.float64)
    weights = weights[counted_N]
    group_N = np.asarray(groups_N)[counted_N]
    if len(group_N):  # counting is many times as fast as sorting, for the hundreds of columns of an evaluation
        is_present_G = np.bincount(group_N) > 0
        group_N = (np.cumsum(is_present_G) - 1)[group_N]
    return values[counted_N], group_N, weights / max(float(weights.sum()), _TINY)
