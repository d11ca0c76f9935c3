"""The first look: every label in low precision with a bound of its error, and an exact second look at labels that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.closer import Closer
from bioclip_core.classifying.columns import Level
from bioclip_core.classifying.crew import on_each
from bioclip_core.classifying.exact import exact_logits
from bioclip_core.classifying.first import First, first_look
from bioclip_core.classifying.floors import UNCERTAIN, floors
from bioclip_core.classifying.matrix import LabelMatrix
from bioclip_core.classifying.pairs import Pairs, best_of
from bioclip_core.classifying.whole import Tree, cubes_of, row_parts

if TYPE_CHECKING:
    import torch

_FEWEST_SHARED_OUT = 4_000_000
"""Logits below which one thread decides: the many short steps of several would wait for each other."""
SHARE = 2e-5
"""Largest share of a sum over a taxon's labels that labels without a second look may hold."""


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
        first = first_look(matrix, queries, bias_K, dtype)
    rows = len(queries[0])
    is_short = rows * matrix.columns.count < _FEWEST_SHARED_OUT
    parts = [slice(0, rows)] if is_short else row_parts(rows, matrix.device)

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
    first: First,
    asked: str,
    top: int,
) -> Look:
    """Return the answers that a first look and second looks decide."""
    rows = len(queries[0])
    count = min(top, matrix.columns.count) if _is_single(tree, asked) else 1
    floor_B, left_LB = floors(first, matrix, bias_K, count, rows)
    pairs = _second_look(first, matrix, queries, bias_K, floor_B, left_LB)
    largest_B = first.largest_B[:rows].double().cpu().numpy()
    error_B = first.error_B[:rows].double().cpu().numpy()
    best_B = np.full(rows, -np.inf)
    np.maximum.at(best_B, pairs.rows_P, pairs.logits_P)
    base_B = np.where(np.isfinite(best_B), best_B, 0.0)
    rest = Rest.of(left_LB, np.exp(largest_B - base_B), error_B, matrix)
    likely_B = rest.sums_LB[-1]
    most_B = likely_B * np.exp(error_B)
    # A label that was not looked at again is at most this probable, relative to the best one.
    unseen_B = np.exp(floor_B + error_B - base_B)
    powers_P = np.exp(pairs.logits_P - base_B[pairs.rows_P])
    seen_B = np.bincount(pairs.rows_P, weights=powers_P, minlength=rows)
    # The total has an estimate of the rest, each part of which is off by a factor of the error's power at the very most.
    decided_B = np.isfinite(floor_B + best_B) & (likely_B * np.expm1(error_B) <= UNCERTAIN * seen_B)
    found = {}
    for level in tree.columns.levels:
        is_asked = level.name == asked
        count = min(top, len(level.starts_T)) if is_asked else 1
        values_Bk, places_Bk, next_B = best_of(level, pairs, powers_P, rows, count, needs_name=not is_asked)
        last_B = values_Bk[:, -1]
        if not is_asked and not level.named_T.any():
            is_sure_B = np.ones(rows, dtype=bool)  # without an answer
        elif level.is_single:  # its labels are exact, and others are below the bound of a single label
            is_sure_B = (last_B >= unseen_B) | ((last_B <= 0) & (most_B <= 0))
        elif values_Bk.shape[1] == 1:  # with an estimate of its own part of the rest
            more_B, wrong_B = rest.of_taxa(level, places_Bk[:, 0])
            is_sure_B = (last_B - next_B >= most_B) & (wrong_B <= UNCERTAIN * last_B)
            values_Bk[:, 0] += np.where(is_sure_B, more_B, 0.0)
        else:  # its sums lack at most all of the rest
            is_sure_B = (last_B - next_B >= most_B) & (most_B <= SHARE * last_B)
        if len(unsure := np.flatnonzero(decided_B & ~is_sure_B)):
            closer = Closer(matrix, tree, queries, bias_K, first, base_B)
            decided_B[unsure] = closer.look(level, unsure, values_Bk, places_Bk, needs_name=not is_asked)
        found[level.name] = (values_Bk / np.maximum(seen_B + likely_B, 1e-300)[:, None], places_Bk)
    return Look(decided_B, largest_B, found)


@dataclass(frozen=True, slots=True)
class Rest:
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
    ) -> Rest:
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


def _is_single(tree: Tree, asked: str) -> bool:
    return next(level.is_single for level in tree.columns.levels if level.name == asked)


def _second_look(
    first: First,
    matrix: LabelMatrix,
    queries: Sequence[NDArray[np.float64]],
    bias_K: torch.Tensor | None,
    floor_B: NDArray[np.float64],
    left_LB: torch.Tensor,
) -> Pairs:
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
    return Pairs(rows_P, columns_P, exact_P)
