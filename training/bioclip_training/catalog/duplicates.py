"""Duplicates among many regions: near ones by perceptual hashes, found without comparing all, and sets joined by them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Beside the bits, mean colours of a 4 × 4 grid must agree: 255 levels; a tenth brighter is up to 18 on average.
_COLOUR_MEAN = 24.0
_COLOUR_MOST = 64
_PAIRS_AT_ONCE = 1 << 20
_BITS_SET = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


def near_pairs(
    hashes_NB: NDArray[np.uint8], colours_NC: NDArray[np.uint8], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of rows whose hashes differ in at most ``distance`` bits and whose colours agree, in chunks, each pair once.

    The bits are cut into ``distance`` + 1 bands: two hashes within the distance are equal in at least one band, so only rows
    that share a band are compared.

    Args:
        hashes_NB: perceptual hashes, B bytes each.
        colours_NC: mean colours of a grid of cells, 0 to 255.
        distance: in bits, 0 and more.

    Yields:
        Rows i < j, and the number of bits in which they differ.
    """
    bands = np.array_split(np.unpackbits(hashes_NB, axis=1), distance + 1, axis=1)
    keys_NB = [np.ascontiguousarray(np.packbits(band, axis=1)) for band in bands]
    del bands
    for number, keys in enumerate(keys_NB):
        for left, right in _sharing(keys):
            far = _BITS_SET[hashes_NB[left] ^ hashes_NB[right]].sum(axis=1, dtype=np.int64)
            fresh = far <= distance
            for earlier in keys_NB[:number]:  # a pair that shares an earlier band is already found
                fresh[fresh] = (earlier[left[fresh]] != earlier[right[fresh]]).any(axis=1)
            apart = np.abs(colours_NC[left[fresh]].astype(np.int16) - colours_NC[right[fresh]])
            fresh[fresh] = (apart.mean(axis=1) <= _COLOUR_MEAN) & (apart.max(axis=1, initial=0) <= _COLOUR_MOST)
            left, right = left[fresh], right[fresh]
            yield np.minimum(left, right), np.maximum(left, right), far[fresh]


def _sharing(keys_NB: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of rows with one key, in chunks: each row with the 1st, 2nd, 3rd … row behind it among those of its key."""
    order = np.lexsort(keys_NB.T[::-1])
    ordered = keys_NB[order]
    number_of_N = np.concatenate([[0], np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))])
    here = np.arange(len(order))
    for step in range(1, len(order)):
        here = here[here + step < len(order)]
        here = here[number_of_N[here] == number_of_N[here + step]]
        if not len(here):
            return
        for start in range(0, len(here), _PAIRS_AT_ONCE):
            part = here[start : start + _PAIRS_AT_ONCE]
            yield order[part], order[part + step]


class Joined:
    """Sets that are joined (a union-find): each member is in the set of its smallest member."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def join(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self._parent[max(one, other)] = min(one, other)

    def _root(self, member: int) -> int:
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = int(parent[member])
        return member

    def roots(self) -> NDArray[np.int64]:
        """Return the smallest member of each member's set."""
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return np.asarray(above)
            self._parent = above
