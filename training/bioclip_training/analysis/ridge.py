"""Ridge regression from weighted moments: those of parts are added, so that leaving out each part in turn costs one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-12
"""Share of the rows' mean square below which the variance along a direction is rounding."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A regression by its principal directions, for any penalty."""

    mean_D: NDArray[np.float64]
    variance_K: NDArray[np.float64]
    direction_DK: NDArray[np.float64]
    product_KC: NDArray[np.float64]
    unit: float
    """Mean variance of a direction, in which penalties are given."""

    def predicted(self, x_ND: NDArray[np.float64], *strengths: float) -> NDArray[np.float64]:
        """Return S×N×C predictions under each penalty, minus the mean target."""
        projected_NK = (x_ND - self.mean_D) @ self.direction_DK
        return np.stack(
            [projected_NK @ (self.product_KC / (self.variance_K + one * self.unit)[:, None]) for one in strengths]
        )


class Moments:
    """Weighted sums of the rows of a part."""

    def __init__(self, dimension: int, targets: int) -> None:
        self.weight, self.rows = 0.0, 0
        self.x_D, self.y_C = np.zeros(dimension), np.zeros(targets)
        self.xx_DD, self.xy_DC = np.zeros((dimension, dimension)), np.zeros((dimension, targets))

    @classmethod
    def of(cls, x_ND: NDArray[np.float64], y_NC: NDArray[np.float64], weight_N: NDArray[np.float64]) -> Moments:
        found = cls(x_ND.shape[1], y_NC.shape[1])
        weighted_ND = weight_N[:, None] * x_ND
        found.weight, found.rows = float(weight_N.sum()), len(x_ND)
        found.x_D, found.y_C = weighted_ND.sum(axis=0), weight_N @ y_NC
        found.xx_DD, found.xy_DC = x_ND.T @ weighted_ND, weighted_ND.T @ y_NC
        return found

    def add(self, part: Moments, factor: float) -> None:
        """Add those of a part, whose weights are multiplied by a factor."""
        self.weight += factor * part.weight
        self.rows += part.rows
        self.x_D += factor * part.x_D
        self.y_C += factor * part.y_C
        self.xx_DD += factor * part.xx_DD
        self.xy_DC += factor * part.xy_DC

    def fit(self) -> Fit:
        """Return the regression on the rows, whose weights are scaled to a sum of 1."""
        mean_D, mean_C = self.x_D / self.weight, self.y_C / self.weight
        square_DD = self.xx_DD / self.weight
        variance_D, direction_DD = np.linalg.eigh(square_DD - np.outer(mean_D, mean_D))
        product_DC = self.xy_DC / self.weight - np.outer(mean_D, mean_C)
        return _kept(mean_D, variance_D, direction_DD, product_DC, float(np.trace(square_DD)), self.rows)


def fit_of(x_ND: NDArray[np.float64], y_NC: NDArray[np.float64], weight_N: NDArray[np.float64]) -> Fit:
    """Return the regression on rows with weights of sum 1; of fewer rows than columns by the rows' products."""
    if len(x_ND) >= x_ND.shape[1]:
        return Moments.of(x_ND, y_NC, weight_N).fit()
    mean_D, root_N = weight_N @ x_ND, np.sqrt(weight_N)[:, None]
    centred_ND, centred_NC = root_N * (x_ND - mean_D), root_N * (y_NC - weight_N @ y_NC)
    variance_K, small_NK = np.linalg.eigh(centred_ND @ centred_ND.T)
    direction_DK = centred_ND.T @ small_NK / np.sqrt(np.maximum(variance_K, 1e-300))
    power = float(weight_N @ np.square(x_ND).sum(axis=1))
    return _kept(mean_D, variance_K, direction_DK, centred_ND.T @ centred_NC, power, len(x_ND))


def _kept(
    mean_D: NDArray[np.float64], variance_K: NDArray[np.float64], direction_DK: NDArray[np.float64], product_DC: NDArray[np.float64],
    power: float, rows: int,
) -> Fit:  # fmt: skip
    keep_K = variance_K > _ROUNDING * power
    variance_K, direction_DK = variance_K[keep_K], direction_DK[:, keep_K]
    unit = float(variance_K.sum()) / min(rows, len(mean_D)) if len(variance_K) else 1.0
    return Fit(mean_D, variance_K, direction_DK, direction_DK.T @ product_DC, unit)
