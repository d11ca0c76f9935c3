"""The first look: every label in low precision with a bound of its error, and an exact second look at labels that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.columns import Level
from bioclip_core.classifying.crew import on_each
from bioclip_core.classifying.exact import exact_logits
from bioclip_core.classifying.matrix import LabelMatrix, powers_of
from bioclip_core.classifying.queries import ROUNDING, error_of, size_of
from bioclip_core.classifying.whole import LOWEST, Tree, cubes_of, row_parts

if TYPE_CHECKING:
    import torch

SHARE = 2e-5
"""Largest share of a sum over a taxon's labels that labels without a second look may hold."""
_UNCERTAIN = 4e-5
"""Largest share of a sum by which the estimate of its labels without a second look may be wrong."""
_DEPTHS = (10.0, 13.0, 15.0, 16.0, 17.0, 18.0, 20.0, 22.0)
"""Labels this far below the largest logit get no second look, unless they hold too much together; then the next depth is tried."""
_FEWEST_LOOKED_AT = 256
_SHARE_LOOKED_AT = 128
"""A row that needs a second look at more than 1/128 of its labels takes the exact path, which costs no more."""
_NEGLIGIBLE = 16.0
"""Logits below the negative of this, and of the largest one, may be rounded by more than their bound: a hundred million of them have a
1e-6th of the largest one's power."""
_BLOCKS_PER_TAXON = 4
"""Taxa that are larger on average are compared by the sums of their blocks first."""
_FEW_OPEN = 4
"""So many rows may have more labels looked at again, since a pass over all labels for them costs as much as one for many."""
_SHARE_OF_FEW = 8
"""They may have an eighth of the labels each."""
_STEPS, _DEEPEST = 4, 64
"""Steps per unit, and largest depth, of the floors of these rows."""
_CLOSER_AT_ONCE = 16
"""Rows of which a whole level is looked at, so that memory stays small."""


class WrongBound(Exception):
    """A product differs from the exact one by more than arithmetic of this precision can explain."""


@dataclass(slots=True)
class Look:
    """Rows of a group that the first look decided, and their answers."""

    decided_B: NDArray[np.bool_]
    largest_B: NDArray[np.float64]
    """About the largest logit of each row."""
    found: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]
    """As in :data:`bioclip_core.classifying.whole.Found`; rows without a decision are not to be used."""

    @classmethod
    def joined(cls, parts: Sequence[Look]) -> Look:
        """Return the rows of several looks as one."""
        found = {
            name: (
                np.concatenate([part.found[name][0] for part in parts]),
                np.concatenate([part.found[name][1] for part in parts]),
            )
            for name in parts[0].found
        }
        decided, largest = (
            np.concatenate(values) for values in zip(*((part.decided_B, part.largest_B) for part in parts), strict=True)
        )
        return cls(decided, largest, found)


@dataclass(slots=True)
class _First:
    """Logits in low precision, block by block."""

    products_KB: torch.Tensor
    maxima_LB: torch.Tensor
    """Largest logit of each block."""
    sums_LB: torch.Tensor
    """Sum of powers of each block, relative to the maximum of its chunk."""
    bases_CB: torch.Tensor
    """Maximum of each chunk."""
    largest_B: torch.Tensor
    error_B: torch.Tensor
    """Bound of the error of every logit of a row, either way."""

    def block_shares(self, per_chunk: int) -> torch.Tensor:
        """Return the sums of the powers of blocks, ``per_chunk`` to a chunk, relative to each row's largest logit."""

        factors_CB = (self.bases_CB - self.largest_B).exp()
        return self.sums_LB * factors_CB.repeat_interleave(per_chunk, dim=0)[: len(self.sums_LB)]

    def logits_of(self, matrix: LabelMatrix, bias_K: torch.Tensor | None, row: int) -> torch.Tensor:
        """Return all logits of one row (K)."""
        logits_K = self.products_KB[: matrix.columns.count, row].float()
        matrix.add_scales(logits_K[:, None], 0, bias_K)
        return logits_K

    def part(self, rows: slice) -> _First:
        """Return some of the rows."""
        return _First(
            self.products_KB[:, rows], self.maxima_LB[:, rows], self.sums_LB[:, rows], self.bases_CB[:, rows],
            self.largest_B[rows], self.error_B[rows],
        )  # fmt: skip


@dataclass(slots=True)
class _Pairs:
    """Labels with a second look, by row and column."""

    rows_P: NDArray[np.int64]
    columns_P: NDArray[np.int64]
    logits_P: NDArray[np.float64]


def look(
    matrix: LabelMatrix,
    tree: Tree,
    queries: Sequence[NDArray[np.float64]],
    bias_K: torch.Tensor | None,
    asked: str,
    top: int,
    dtype: torch.dtype,
) -> Look:
    """Answer the rows whose answers a few labels decide.

    Args:
        matrix: the label rows.
        tree: their taxa.
        queries: B×D of each kind.
        bias_K: added to the products, minus infinity for impossible labels.
        asked: level of the ``top`` best.
        top: number of answers at that level.
        dtype: of the first look.

    Raises:
        WrongBound: if a logit is outside its bound.
    """
    with np.errstate(all="ignore"):  # whatever the host has set
        first = _first_look(matrix, queries, bias_K, dtype)
    parts = row_parts(len(queries[0]), matrix.device)

    def decide(number: int) -> Look:
        own = parts[number]
        with np.errstate(all="ignore"):  # of this thread
            return _decided(matrix, tree, [query_BD[own] for query_BD in queries], bias_K, first.part(own), asked, top)

    return Look.joined(on_each(decide, len(parts), matrix.device))


def _decided(
    matrix: LabelMatrix,
    tree: Tree,
    queries: Sequence[NDArray[np.float64]],
    bias_K: torch.Tensor | None,
    first: _First,
    asked: str,
    top: int,
) -> Look:
    """Return the answers that a first look and second looks decide."""
    rows = len(queries[0])
    count = min(top, matrix.columns.count) if _is_single(tree, asked) else 1
    floor_B, left_LB = _floors(first, matrix, bias_K, count, rows)
    pairs = _second_look(first, matrix, queries, bias_K, floor_B, left_LB)
    largest_B = first.largest_B[:rows].double().cpu().numpy()
    error_B = first.error_B[:rows].double().cpu().numpy()
    best_B = np.full(rows, -np.inf)
    np.maximum.at(best_B, pairs.rows_P, pairs.logits_P)
    base_B = np.where(np.isfinite(best_B), best_B, 0.0)
    rest = _Rest.of(left_LB, np.exp(largest_B - base_B), error_B, matrix)
    likely_B = rest.sums_LB[-1]
    most_B = likely_B * np.exp(error_B)
    # A label that was not looked at again is at most this probable, relative to the best one.
    unseen_B = np.exp(floor_B + error_B - base_B)
    powers_P = np.exp(pairs.logits_P - base_B[pairs.rows_P])
    seen_B = np.bincount(pairs.rows_P, weights=powers_P, minlength=rows)
    # The total has an estimate of the rest, each part of which is off by a factor of the error's power at the very most.
    decided_B = np.isfinite(floor_B + best_B) & (likely_B * np.expm1(error_B) <= _UNCERTAIN * seen_B)
    found = {}
    for level in tree.columns.levels:
        is_asked = level.name == asked
        count = min(top, len(level.starts_T)) if is_asked else 1
        values_Bk, places_Bk, next_B = _best_of(level, pairs, powers_P, rows, count, needs_name=not is_asked)
        last_B = values_Bk[:, -1]
        if not is_asked and not level.named_T.any():
            is_sure_B = np.ones(rows, dtype=bool)  # without an answer
        elif level.is_single:  # its labels are exact, and others are below the bound of a single label
            is_sure_B = (last_B >= unseen_B) | ((last_B <= 0) & (most_B <= 0))
        elif values_Bk.shape[1] == 1:  # with an estimate of its own part of the rest
            more_B, wrong_B = rest.of_taxa(level, places_Bk[:, 0])
            is_sure_B = (last_B - next_B >= most_B) & (wrong_B <= _UNCERTAIN * last_B)
            values_Bk[:, 0] += np.where(is_sure_B, more_B, 0.0)
        else:  # its sums lack at most all of the rest
            is_sure_B = (last_B - next_B >= most_B) & (most_B <= SHARE * last_B)
        if len(unsure := np.flatnonzero(decided_B & ~is_sure_B)):
            closer = _Closer(matrix, tree, queries, bias_K, first, base_B)
            decided_B[unsure] = closer.look(level, unsure, values_Bk, places_Bk, needs_name=not is_asked)
        found[level.name] = (values_Bk / np.maximum(seen_B + likely_B, 1e-300)[:, None], places_Bk)
    return Look(decided_B, largest_B, found)


@dataclass(slots=True)
class _Closer:
    """A look at a whole level, for rows of which the labels with a second look do not decide the best taxa there."""

    matrix: LabelMatrix
    tree: Tree
    queries: Sequence[NDArray[np.float64]]
    bias_K: torch.Tensor | None
    first: _First
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
            best = _best_of(level, pairs, powers_P, len(values_Bk), values_Bk.shape[1], needs_name=needs_name)
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
        floor_R = least_TR.max(axis=0) * np.exp(-2 * self.first.error_B[own].double().cpu().numpy() - 1e-4)
        is_likely_TR = (most_TR >= floor_R) & (floor_R > 0)
        decided_R = ((stops_T - level.starts_T)[:, None] * is_likely_TR).sum(axis=0) <= most
        decided_R &= floor_R > 0
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

    def _labels_of(self, level: Level, taxa_H: NDArray[np.int64], rows_H: NDArray[np.int64]) -> _Pairs:
        """Return all labels of taxa, computed exactly."""
        sizes_H = np.diff(level.starts_T, append=self.matrix.columns.count)[taxa_H]
        before_H = np.cumsum(sizes_H) - sizes_H
        columns_P = np.arange(int(sizes_H.sum())) + np.repeat(level.starts_T[taxa_H] - before_H, sizes_H)
        rows_P = np.repeat(rows_H, sizes_H)
        return _Pairs(rows_P, columns_P, exact_logits(self.matrix, self.queries, self.bias_K, rows_P, columns_P))


def _sums_between(
    values_LR: NDArray[np.float64], starts_T: NDArray[np.int64], stops_T: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sums of runs of rows, T×R; a run that ends before it begins has none. The last row of all belongs to no run."""
    ends = np.stack([starts_T, stops_T], axis=1).ravel()
    sums_TR: NDArray[np.float64] = np.add.reduceat(values_LR, np.minimum(ends, len(values_LR) - 1), axis=0)[::2]
    sums_TR[starts_T >= stops_T] = 0.0
    return sums_TR


@dataclass(frozen=True, slots=True)
class _Rest:
    """Sums of the powers of labels without a second look, by the first look."""

    sums_LB: NDArray[np.float64]
    """Sum of all blocks before each block, and of all."""
    error_B: NDArray[np.float64]
    block: int
    count: int
    """Number of columns."""

    @classmethod
    def of(
        cls, left_LB: torch.Tensor, factor_B: NDArray[np.float64], error_B: NDArray[np.float64], matrix: LabelMatrix
    ) -> _Rest:
        """Return the sums, turned by a factor to the base of other powers."""
        sums_LB = np.zeros((len(left_LB) + 1, len(factor_B)))
        np.cumsum(left_LB.double().cpu().numpy(), axis=0, out=sums_LB[1:])
        return cls(sums_LB * factor_B, error_B, matrix.block, matrix.columns.count)

    def of_taxa(self, level: Level, taxa_B: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return an estimate of the part that one taxon of each row has, and a bound of its error.

        Blocks within the taxon belong to it, and each block that it shares with others by an unknown part.
        """
        starts_B = level.starts_T[taxa_B]
        stops_B = np.append(level.starts_T[1:], self.count)[taxa_B]
        rows_B = np.arange(len(taxa_B))
        least_B = self.sums_LB[stops_B // self.block, rows_B] - self.sums_LB[-(-starts_B // self.block), rows_B]
        most_B = self.sums_LB[-(-stops_B // self.block), rows_B] - self.sums_LB[starts_B // self.block, rows_B]
        least_B = np.maximum(least_B, 0.0)
        likely_B = (least_B + most_B) / 2
        wrong_B = np.maximum(most_B * np.exp(self.error_B) - likely_B, likely_B - least_B * np.exp(-self.error_B))
        return likely_B, wrong_B


def most_looked_at(matrix: LabelMatrix) -> int:
    """Return the number of labels of a row from which the exact path costs less than a second look at each."""
    return max(_FEWEST_LOOKED_AT, matrix.columns.count // _SHARE_LOOKED_AT)


def _is_single(tree: Tree, asked: str) -> bool:
    return next(level.is_single for level in tree.columns.levels if level.name == asked)


def _first_look(
    matrix: LabelMatrix, queries: Sequence[NDArray[np.float64]], bias_K: torch.Tensor | None, dtype: torch.dtype
) -> _First:
    import torch

    rounded = matrix.queries(queries, dtype)
    width, count = len(rounded[0]), matrix.columns.count
    blocks = -(-count // matrix.block)
    per_chunk = matrix.chunk // matrix.block
    products_KB = matrix.products(dtype, width)
    products_KB[count:] = -torch.inf
    maxima_LB, sums_LB = (matrix.numbers(blocks, width) for _ in range(2))
    bases_CB = matrix.numbers(matrix.chunks, width)

    def compute(number: int) -> None:
        start, chunk_RD = matrix.read(number, dtype)
        stop = start + len(chunk_RD)
        matrix.product(chunk_RD, start, rounded, products_KB[start:stop])
        part_RB = products_KB[start : -(-stop // matrix.block) * matrix.block]
        own = slice(number * per_chunk, number * per_chunk + len(part_RB) // matrix.block)
        wide_RB = matrix.buffer("powers", torch.float32, width)[: len(part_RB)].copy_(part_RB)
        matrix.add_scales(wide_RB[: stop - start], start, bias_K)
        cubes = wide_RB.view(-1, matrix.block, width)
        torch.amax(cubes, dim=1, out=maxima_LB[own])
        torch.clamp(maxima_LB[own].amax(dim=0), min=LOWEST, out=bases_CB[number])
        powers_of(wide_RB, bases_CB[number], wide_RB)
        torch.sum(cubes, dim=1, out=sums_LB[own])

    on_each(compute, matrix.chunks, matrix.device)
    largest_B = bases_CB.amax(dim=0)
    kept = [query_BD.to(torch.float64).cpu().numpy()[: len(queries[0])] for query_BD in rounded]
    name = str(dtype).removeprefix("torch.")
    error_B, size_B = (torch.zeros(width, dtype=torch.float32, device=matrix.device) for _ in range(2))
    error_B[: len(queries[0])] = matrix.tensor(error_of(queries, kept, matrix.longest, name))
    size_B[: len(queries[0])] = matrix.tensor(size_of(kept, matrix.longest))
    bias = 0.0
    if bias_K is not None:
        bias = float(bias_K.abs().nan_to_num(posinf=0.0).amax())
    elif matrix.factor_K is None:
        size_B = torch.minimum(size_B, largest_B.clamp(min=_NEGLIGIBLE))
    # The result is rounded once more, and again in fp32 when a bias is added.
    error_B += 1.01 * ROUNDING[name] * size_B + 2**-22 * (size_B + bias)
    return _First(products_KB, maxima_LB, sums_LB, bases_CB, largest_B, error_B)


def _floors(
    first: _First, matrix: LabelMatrix, bias_K: torch.Tensor | None, top: int, rows: int
) -> tuple[NDArray[np.float64], torch.Tensor]:
    """Return the logit from which each row's labels get a second look, and the sums of the powers of blocks below it (L×B).

    Powers are relative to the row's largest logit. The floor is minus infinity for rows that need too many second looks.
    """
    import torch

    maxima_LB, largest_B = first.maxima_LB, first.largest_B
    if len(maxima_LB) < top:
        return np.full(rows, -np.inf), torch.zeros_like(maxima_LB[:, :rows])
    # A label among the best has at least the k-th largest logit, less both errors.
    last_B = maxima_LB.T.contiguous().topk(top, dim=1).values[:, -1] - 2 * first.error_B
    shares_LB = first.block_shares(matrix.chunk // matrix.block)
    wrong_B = first.error_B[:rows].expm1()
    floor_B = torch.full_like(largest_B[:rows], -torch.inf)
    rest_B = torch.zeros_like(floor_B)
    most = most_looked_at(matrix)
    open_O = torch.arange(rows, device=floor_B.device)
    for depth in _DEPTHS:
        maxima_LO, shares_LO = (
            values_LB[:, :rows] if len(open_O) == rows else values_LB.index_select(1, open_O)
            for values_LB in (maxima_LB, shares_LB)
        )
        tried_O = torch.minimum(last_B[open_O], largest_B[open_O] - depth)
        is_below_LO = maxima_LO < tried_O
        can_O = len(maxima_LO) - is_below_LO.count_nonzero(dim=0) <= most
        left_O = (shares_LO * is_below_LO).sum(dim=0)
        floor_B[open_O[can_O]], rest_B[open_O[can_O]] = tried_O[can_O], left_O[can_O]
        open_O = open_O[can_O & (left_O * wrong_B[open_O] > _UNCERTAIN / 2)]
        if not len(open_O):
            break
    is_open_B = floor_B.isinf() | (rest_B * wrong_B > _UNCERTAIN / 2)
    if 0 < int(is_open_B.count_nonzero()) <= _FEW_OPEN:
        for row in is_open_B.nonzero()[:, 0].tolist():
            deep = _deep_floor(first, matrix, bias_K, row, float(wrong_B[row]))
            floor_B[row] = min(float(last_B[row]), deep) if deep is not None else floor_B[row]
    left_LB = shares_LB[:, :rows] * (maxima_LB[:, :rows] < floor_B)
    return floor_B.double().cpu().numpy(), left_LB


def _deep_floor(
    first: _First, matrix: LabelMatrix, bias_K: torch.Tensor | None, row: int, wrong: float
) -> float | None:
    """Return a lower floor for one row, by all of its logits; None if too many labels would be above it."""
    logits_K = first.logits_of(matrix, bias_K, row)
    below_K = (float(first.largest_B[row]) - logits_K).numpy(force=True)
    if np.isnan(below_K).any():
        return None
    steps_K = np.clip(below_K * _STEPS, 0, _STEPS * _DEEPEST).astype(np.int64)
    left = np.bincount(steps_K, weights=np.exp(-below_K), minlength=_STEPS * _DEEPEST + 1)[::-1].cumsum()[::-1]
    fitting = np.flatnonzero(left * wrong <= _UNCERTAIN / 2)
    if not len(fitting) or np.count_nonzero(steps_K < fitting[0]) > matrix.columns.count // _SHARE_OF_FEW:
        return None
    return float(first.largest_B[row]) - int(fitting[0]) / _STEPS


def _second_look(
    first: _First,
    matrix: LabelMatrix,
    queries: Sequence[NDArray[np.float64]],
    bias_K: torch.Tensor | None,
    floor_B: NDArray[np.float64],
    left_LB: torch.Tensor,
) -> _Pairs:
    """Compute labels above the floors exactly, and write the sums of powers of others in their blocks.

    Raises:
        WrongBound: if a logit is outside its bound.
    """
    import torch

    rows = len(floor_B)
    floor = torch.from_numpy(np.where(np.isfinite(floor_B), floor_B, np.inf)).to(first.maxima_LB)
    blocks_H, rows_H = (first.maxima_LB[:, :rows] >= floor).nonzero(as_tuple=True)
    cubes = cubes_of(first.products_KB, matrix.block)
    logits_HC = cubes[blocks_H, :, rows_H].float()
    columns_HC = blocks_H[:, None] * matrix.block + torch.arange(matrix.block, device=blocks_H.device)
    within_HC = columns_HC.clamp(max=matrix.columns.count - 1)  # columns behind the last have minus infinity already
    if matrix.factor_K is not None:
        logits_HC *= matrix.factor_K[within_HC]
    if bias_K is not None:
        logits_HC += bias_K[within_HC]
    is_chosen_HC = (logits_HC >= floor[rows_H, None]) & logits_HC.isfinite()
    others_HC = (logits_HC - first.largest_B[rows_H, None]).exp().masked_fill_(is_chosen_HC, 0.0)
    left_LB[blocks_H, rows_H] = others_HC.sum(dim=1)
    rows_P = rows_H[:, None].expand_as(columns_HC)[is_chosen_HC].cpu().numpy()
    columns_P = columns_HC[is_chosen_HC].cpu().numpy()
    seen_P = logits_HC[is_chosen_HC].double().cpu().numpy()
    order = np.lexsort((columns_P, rows_P))
    rows_P, columns_P, seen_P = rows_P[order], columns_P[order], seen_P[order]
    exact_P = exact_logits(matrix, queries, bias_K, rows_P, columns_P)
    error_B = first.error_B[:rows].double().cpu().numpy()
    off_P = np.abs(exact_P - seen_P) - error_B[rows_P]
    if (off_P > 0).any():
        raise WrongBound(f"a logit is off by {float(off_P.max()):.3g} more than its bound")
    return _Pairs(rows_P, columns_P, exact_P)


def _best_of(
    level: Level, pairs: _Pairs, powers_P: NDArray[np.float64], rows: int, count: int, *, needs_name: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the largest sums of each row (B×k, zero if there are fewer), their taxa, and the largest of the others.

    Labels are sorted by row and column, so the labels of a taxon follow each other. Sums are rounded as those of the exact path, so
    that equal labels are equal and stay in order.
    """
    if level.is_single:
        taxa_P, rows_T, sums_T = pairs.columns_P, pairs.rows_P, powers_P
    else:
        taxa_P = np.searchsorted(level.starts_T, pairs.columns_P, side="right") - 1
        is_first_P = np.ones(len(taxa_P), dtype=bool)
        is_first_P[1:] = (np.diff(taxa_P) != 0) | (np.diff(pairs.rows_P) != 0)
        starts = np.flatnonzero(is_first_P)
        taxa_P, rows_T = taxa_P[starts], pairs.rows_P[starts]
        sums_T = np.add.reduceat(powers_P, starts) if len(starts) else powers_P[:0]
    if needs_name and not level.named_T.all():
        is_named_T = level.named_T[taxa_P]
        taxa_P, rows_T, sums_T = taxa_P[is_named_T], rows_T[is_named_T], sums_T[is_named_T]
    mantissas_T, exponents_T = np.frexp(sums_T)
    sums_T = np.ldexp(np.round(mantissas_T * 2**24), exponents_T - 24)
    order = np.lexsort((taxa_P, -sums_T, rows_T))
    taxa_P, rows_T, sums_T = taxa_P[order], rows_T[order], sums_T[order]
    place_T = np.arange(len(rows_T)) - np.searchsorted(rows_T, rows_T)
    values_Bk, places_Bk, next_B = np.zeros((rows, count)), np.zeros((rows, count), dtype=np.int64), np.zeros(rows)
    is_best_T = place_T < count
    values_Bk[rows_T[is_best_T], place_T[is_best_T]] = sums_T[is_best_T]
    places_Bk[rows_T[is_best_T], place_T[is_best_T]] = taxa_P[is_best_T]
    is_next_T = place_T == count
    next_B[rows_T[is_next_T]] = sums_T[is_next_T]
    return values_Bk, places_Bk, next_B
