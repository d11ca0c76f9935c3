"""Decoded images in memory, up to a budget."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray


class PixelCache:
    """Arrays by sample until the budget is full; nothing is removed.

    Training goes through the samples again and again: a cache that removes the least recently used array would remove each
    one just before its turn, while a cache that keeps the first arrays serves its share of every epoch.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = self._left = budget_bytes
        self._arrays: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> NDArray[np.uint8] | None:
        return self._arrays.get(index)

    @property
    def bytes(self) -> int:
        """Bytes of the kept arrays."""
        return self._budget - self._left

    def __len__(self) -> int:
        return len(self._arrays)

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep an array, unless it is kept already or exceeds the rest of the budget."""
        with self._lock:
            if index not in self._arrays and pixels.nbytes <= self._left:
                self._left -= pixels.nbytes
                self._arrays[index] = pixels
