"""Rows of a matrix by the keys of their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class RowIndex:
    """The rows of N pairs (content, packed box). Rows with the content -1 are never found; the other pairs are distinct."""

    def __init__(self, content_N: NDArray[np.int64], box_N: NDArray[np.int64]) -> None:
        self._boxes_B = np.unique(box_N)  # most features are of whole images, so that these are few
        joined_N = self._joined(content_N, box_N)
        self._order_N = np.argsort(joined_N, kind="stable")
        self._sorted_N = joined_N[self._order_N]

    def rows(self, content_M: NDArray[np.int64], box_M: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each of M pairs, -1 for a pair without one."""
        if not len(self._sorted_N):
            return np.full(len(content_M), -1, np.int64)
        wanted_M = self._joined(content_M, box_M)
        place_M = np.minimum(np.searchsorted(self._sorted_N, wanted_M), len(self._sorted_N) - 1)
        return np.where((self._sorted_N[place_M] == wanted_M) & (wanted_M >= 0), self._order_N[place_M], -1)

    def _joined(self, content_M: NDArray[np.int64], box_M: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one number per pair, -1 for a box that no row has, or a content without a number."""
        if not len(self._boxes_B):
            return np.full(len(box_M), -1, np.int64)
        code_M = np.minimum(np.searchsorted(self._boxes_B, box_M), len(self._boxes_B) - 1)
        is_known = (self._boxes_B[code_M] == box_M) & (content_M >= 0)
        return np.where(is_known, content_M * len(self._boxes_B) + code_M, -1)
