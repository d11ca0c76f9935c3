"""The order in which a stream takes its samples: a pure function of the seed and the position, without a state to save."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WINDOW_BLOCKS = 8
"""Shards that are mixed with each other: few enough that a disk reads nearly in sequence, enough that batches are mixed."""

# Keep the random numbers of different purposes apart, whatever the seed.
_BLOCKS, _WINDOW, _ROUND, _TAXON = 1, 2, 3, 4


class SampleOrder(Protocol):
    """The sample at each position 0, 1, 2… of an endless stream."""

    def index_at(self, position: int) -> int: ...


class ShuffledOrder:
    """Every sample once per epoch: blocks shuffled, then samples within windows of ``WINDOW_BLOCKS`` blocks.

    Only the orders of a few windows are in memory at a time, never the order of the whole.
    """

    def __init__(self, blocks: Sequence[tuple[int, int]], seed: int) -> None:
        self._blocks = np.array(blocks, dtype=np.int64)
        self._count = int((self._blocks[:, 1] - self._blocks[:, 0]).sum())
        self._seed = seed
        self._epoch = lru_cache(4)(self._epoch_windows)
        self._window = lru_cache(4)(self._window_order)

    def index_at(self, position: int) -> int:
        epoch, place = divmod(position, self._count)
        ends = self._epoch(epoch)[1]
        window = int(np.searchsorted(ends, place, side="right"))
        start = int(ends[window - 1]) if window else 0
        return int(self._window(epoch, window)[place - start])

    def _epoch_windows(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the epoch's order of blocks, and the position at which each window ends."""
        order = np.random.default_rng([self._seed, _BLOCKS, epoch]).permutation(len(self._blocks))
        ends = np.cumsum(self._blocks[order, 1] - self._blocks[order, 0])
        last = np.minimum(np.arange(WINDOW_BLOCKS, len(order) + WINDOW_BLOCKS, WINDOW_BLOCKS), len(order)) - 1
        return order, ends[last]

    def _window_order(self, epoch: int, window: int) -> NDArray[np.int64]:
        order = self._epoch(epoch)[0][window * WINDOW_BLOCKS : (window + 1) * WINDOW_BLOCKS]
        members = np.concatenate([np.arange(*self._blocks[block]) for block in order])
        return np.random.default_rng([self._seed, _WINDOW, epoch, window]).permutation(members)


class BalancedOrder:
    """Every taxon equally often: rounds over the K taxa, each in a new order; a taxon's own samples take turns.

    A taxon occurs exactly once per round, so its n-th occurrence is in round n, whichever position is asked first.
    """

    def __init__(self, taxon_of_N: NDArray[np.int64], seed: int) -> None:
        by_taxon = np.argsort(taxon_of_N, kind="stable")
        starts = np.unique(taxon_of_N[by_taxon], return_index=True)[1]
        self._samples = np.split(by_taxon, starts[1:])
        self._seed = seed
        self._round = lru_cache(4)(self._round_order)
        self._turn = lru_cache(max(64, 2 * len(self._samples)))(self._turn_order)

    def index_at(self, position: int) -> int:
        number, place = divmod(position, len(self._samples))
        taxon = int(self._round(number)[place])
        turn, at = divmod(number, len(self._samples[taxon]))
        return int(self._turn(taxon, turn)[at])

    def _round_order(self, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, _ROUND, number]).permutation(len(self._samples))

    def _turn_order(self, taxon: int, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, _TAXON, taxon, turn]).permutation(self._samples[taxon])
