"""A look at a whole level, where single labels do not decide the best taxa."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.columns import Level
from bioclip_core.classifying.exact import exact_logits
from bioclip_core.classifying.first import First
from bioclip_core.classifying.floors import most_looked_at
from bioclip_core.classifying.matrix import LabelMatrix
from bioclip_core.classifying.pairs import Pairs, best_of
from bioclip_core.classifying.whole import Tree

if TYPE_CHECKING:
    import torch

_BLOCKS_PER_TAXON = 4
"""Taxa that are larger on average are compared by the sums of their blocks first."""
_CLOSER_AT_ONCE = 16
"""Rows of which a whole level is looked at, so that memory stays small."""


@dataclass(slots=True)
class Closer:
    """A look at a whole level, for rows of which the labels with a second look do not decide the best taxa there."""

    matrix: LabelMatrix
    tree: Tree
    queries: Sequence[NDArray[np.float64]]
    bias_K: torch.Tensor | None
    first: First
    base_B: NDArray[np.float64]

    def look(
        self,
        level: Level,
        rows_R: NDArray[np.int64],
        values_Bk: NDArray[np.float64],
        places_Bk: NDArray[np.int64],
        *,
        needs_name: bool,
    ) -> NDArray[np.bool_]:
        """Write the best taxa of some rows, and return True for each that is decided now.

        The sums of the first look are within the powers of its error, which leaves few taxa; all their labels get a second look.
        """
        decided = [np.empty(0, dtype=bool)]
        # A pass for few rows costs nearly as much as one for many, so few may have more labels looked at.
        most = max(most_looked_at(self.matrix), self.matrix.columns.count // (4 * len(rows_R)))
        for first in range(0, len(rows_R), _CLOSER_AT_ONCE):
            some_R = rows_R[first : first + _CLOSER_AT_ONCE]
            decided.append(self._look(level, some_R, values_Bk, places_Bk, most, needs_name=needs_name))
        return np.concatenate(decided)

    def _look(
        self,
        level: Level,
        rows_R: NDArray[np.int64],
        values_Bk: NDArray[np.float64],
        places_Bk: NDArray[np.int64],
        most: int,
        *,
        needs_name: bool,
    ) -> NDArray[np.bool_]:
        decided_R = np.zeros(len(rows_R), dtype=bool)
        ways = [self._likely]
        if (
            not level.is_single
            and values_Bk.shape[1] == 1
            and len(level.starts_T) * _BLOCKS_PER_TAXON <= len(self.first.sums_LB)
        ):
            ways.insert(0, self._likely_by_blocks)
        for likely in ways:
            if decided_R.all():
                break
            own = np.flatnonzero(~decided_R)
            taxa_H, places_H, is_few_R = likely(level, rows_R[own], values_Bk.shape[1], most, needs_name=needs_name)
            pairs = self._labels_of(level, taxa_H, rows_R[own][places_H])
            powers_P = np.exp(pairs.logits_P - self.base_B[pairs.rows_P])
            best = best_of(level, pairs, powers_P, len(values_Bk), values_Bk.shape[1], needs_name=needs_name)
            found = rows_R[own][is_few_R]
            values_Bk[found], places_Bk[found] = best[0][found], best[1][found]
            decided_R[own] = is_few_R & (best[0][rows_R[own], -1] > 0)
        return decided_R

    def _likely_by_blocks(
        self, level: Level, rows_R: NDArray[np.int64], count: int, most: int, *, needs_name: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the taxa of many labels that may be the best, by the sums of their blocks, as :meth:`_likely` does."""
        assert count == 1
        own = self.matrix.tensor(rows_R)
        shares_LR = self.first.block_shares(self.matrix.chunk // self.matrix.block)[:, own].double().cpu().numpy()
        shares_LR = np.concatenate([shares_LR, np.zeros((1, len(rows_R)))])
        stops_T = np.append(level.starts_T[1:], self.matrix.columns.count)
        block = self.matrix.block
        most_TR = _sums_between(shares_LR, level.starts_T // block, -(-stops_T // block))
        least_TR = _sums_between(shares_LR, -(-level.starts_T // block), stops_T // block)
        if needs_name:
            most_TR[~level.named_T], least_TR[~level.named_T] = 0.0, 0.0
        # One taxon of each row is computed exactly, so that the error of the others alone counts.
        sizes_T, best_R, places_R = stops_T - level.starts_T, least_TR.argmax(axis=0), np.arange(len(rows_R))
        fits_R = (least_TR[best_R, places_R] > 0) & (sizes_T[best_R] <= most)
        pairs = self._labels_of(level, best_R[fits_R], rows_R[fits_R])
        largest_B = self.first.largest_B.double().cpu().numpy()
        powers_P = np.exp(pairs.logits_P - largest_B[pairs.rows_P])
        exact_R = np.bincount(pairs.rows_P, weights=powers_P, minlength=len(largest_B))[rows_R]
        floor_R = exact_R * np.exp(-self.first.error_B[own].double().cpu().numpy() - 1e-4)
        is_likely_TR = most_TR >= floor_R
        is_likely_TR[best_R, places_R] = True
        decided_R = ((sizes_T[:, None] * is_likely_TR).sum(axis=0) <= most) & (floor_R > 0)
        places_H, taxa_H = np.nonzero((is_likely_TR & decided_R).T)
        return taxa_H, places_H, decided_R

    def _likely(
        self, level: Level, rows_R: NDArray[np.int64], count: int, most: int, *, needs_name: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the taxa that may be among the best, the places of their rows, and True for rows that have few of them."""
        own = self.matrix.tensor(rows_R)
        logits_KR = self.first.products_KB[: self.matrix.columns.count].index_select(1, own).float()
        self.matrix.add_scales(logits_KR, 0, self.bias_K)
        sums_TR = logits_KR.sub_(self.first.largest_B[own]).exp_()
        if not level.is_single:
            sums_TR = next(sums for one, sums in self.tree.sums(self.tree.slots(sums_TR)) if one.name == level.name)
        if needs_name and level.name in self.tree.unnamed:
            sums_TR = sums_TR.index_fill(0, self.tree.unnamed[level.name], 0.0)
        last_R = sums_TR.T.contiguous().topk(count, dim=1).values[:, -1]
        # Each of the two may be off by the error, and sums in fp32 by 1e-4 at the very most.
        floor_R = last_R * (-2 * self.first.error_B[own] - 1e-4).exp()
        is_likely_TR = (sums_TR >= floor_R) & (floor_R > 0)
        sizes_T = self.matrix.tensor(np.diff(level.starts_T, append=self.matrix.columns.count))
        decided_R = ((sizes_T[:, None] * is_likely_TR).sum(dim=0) <= most) & (floor_R > 0)
        places_H, taxa_H = (is_likely_TR & decided_R).T.nonzero(as_tuple=True)
        return taxa_H.cpu().numpy(), places_H.cpu().numpy(), decided_R.cpu().numpy()

    def _labels_of(self, level: Level, taxa_H: NDArray[np.int64], rows_H: NDArray[np.int64]) -> Pairs:
        """Return all labels of taxa, computed exactly."""
        sizes_H = np.diff(level.starts_T, append=self.matrix.columns.count)[taxa_H]
        before_H = np.cumsum(sizes_H) - sizes_H
        columns_P = np.arange(int(sizes_H.sum())) + np.repeat(level.starts_T[taxa_H] - before_H, sizes_H)
        rows_P = np.repeat(rows_H, sizes_H)
        return Pairs(rows_P, columns_P, exact_logits(self.matrix, self.queries, self.bias_K, rows_P, columns_P))


def _sums_between(
    values_LR: NDArray[np.float64], starts_T: NDArray[np.int64], stops_T: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sums of runs of rows, T×R; a run that ends before it begins has none. The last row of all belongs to no run."""
    ends = np.stack([starts_T, stops_T], axis=1).ravel()
    sums_TR: NDArray[np.float64] = np.add.reduceat(values_LR, np.minimum(ends, len(values_LR) - 1), axis=0)[::2]
    sums_TR[starts_T >= stops_T] = 0.0
    return sums_TR
