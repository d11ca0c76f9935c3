"""Decoded images in memory, up to a budget."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PixelCache:
    """Arrays by sample until the budget is full; nothing is thrown out.

    Training goes round and round: a cache that forgets the least recently used would forget each image just before its
    turn, while one that keeps the first that came serves its share of every epoch.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._left = budget_bytes
        self._arrays: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._arrays)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        return self._arrays.get(index)

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep an array, unless it is kept already or the budget has no room for it."""
        with self._lock:
            if index not in self._arrays and pixels.nbytes <= self._left:
                self._left -= pixels.nbytes
                self._arrays[index] = pixels
