"""Trends of the scaling study: slope of each figure per doubling of the data, and its interval over worlds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.scaling.measuring import Figure

AS_SAID, AGAINST, NOT_SHOWN = "as the papers say", "against the papers", "no trend shown"


@dataclass(frozen=True, slots=True)
class Trend:
    """Change of a figure per doubling of the training images."""

    slope: float
    """Mean over worlds of the least-squares slope."""
    ci95: tuple[float, float]
    """Of Student's t over worlds; NaN for fewer than two."""
    worlds: int

    @property
    def direction(self) -> int:
        """1 if the figure rises, -1 if it falls, 0 if neither is shown."""
        return 1 if self.ci95[0] > 0 else -1 if self.ci95[1] < 0 else 0

    def verdict(self, figure: Figure) -> str:
        if not figure.expected:
            return {1: "rises", -1: "falls", 0: NOT_SHOWN}[self.direction]
        return {1: AS_SAID, -1: AGAINST, 0: NOT_SHOWN}[self.direction * figure.expected]


def trend(values: Mapping[int, Mapping[int, float | None]], sizes: Sequence[int]) -> Trend:
    """Return the trend over sizes of the collection.

    Args:
        values: the figure by seed of the world and by size. A world without a value at one of the sizes is not counted.
        sizes: the sizes, in images.
    """
    doublings = np.log2(np.array(sizes, dtype=np.float64))
    slopes = [
        float(np.polyfit(doublings, [float(of_size[size] or 0.0) for size in sizes], 1)[0])
        for of_size in values.values()
        if all(of_size.get(size) is not None for size in sizes)
    ]
    if not slopes:
        return Trend(math.nan, (math.nan, math.nan), 0)
    mean = float(np.mean(slopes))
    if len(slopes) < 2:
        return Trend(mean, (math.nan, math.nan), 1)
    reach = float(stats.t.ppf(0.975, len(slopes) - 1) * np.std(slopes, ddof=1) / math.sqrt(len(slopes)))
    return Trend(mean, (mean - reach, mean + reach), len(slopes))
