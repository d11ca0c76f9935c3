"""The nearest keys of features, as every way of searching returns them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NearestKeys:
    """K keys of features, nearest first."""

    content_K: NDArray[np.int64]
    box_K: NDArray[np.int64]
    cosine_K: NDArray[np.float64]
    is_exact: bool
    method: str
