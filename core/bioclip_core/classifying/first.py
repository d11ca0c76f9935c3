"""Every label in low precision, with a bound of its error, and the sums of blocks of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.crew import on_each
from bioclip_core.classifying.matrix import LabelMatrix, powers_of
from bioclip_core.classifying.queries import ROUNDING, error_of, size_of
from bioclip_core.classifying.whole import LOWEST

if TYPE_CHECKING:
    import torch

_NEGLIGIBLE = 16.0
"""Logits below the negative of this, and of the largest one, may be rounded by more than their bound: a hundred million of them have a
1e-6th of the largest one's power."""


@dataclass(slots=True)
class First:
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

    def part(self, rows: slice) -> First:
        """Return some of the rows."""
        return First(
            self.products_KB[:, rows], self.maxima_LB[:, rows], self.sums_LB[:, rows], self.bases_CB[:, rows],
            self.largest_B[rows], self.error_B[rows],
        )  # fmt: skip


def first_look(
    matrix: LabelMatrix, queries: Sequence[NDArray[np.float64]], bias_K: torch.Tensor | None, dtype: torch.dtype
) -> First:
    """Compute all labels in a precision (K×B in ``products_KB``).

    Args:
        matrix: the label rows.
        queries: B×D of each kind.
        bias_K: added to the products, minus infinity for impossible labels.
        dtype: of the products.
    """
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
    error_B[: len(queries[0])] = matrix.tensor(error_of(queries, kept, matrix.longest, matrix.off(dtype), name))
    size_B[: len(queries[0])] = matrix.tensor(size_of(kept, matrix.longest))
    bias = 0.0
    if bias_K is not None:
        bias = float(bias_K.abs().nan_to_num(posinf=0.0).amax())
    elif matrix.factor_K is None:
        size_B = torch.minimum(size_B, largest_B.clamp(min=_NEGLIGIBLE))
    # The result is rounded once more, and again in fp32 when a bias is added.
    error_B += 1.01 * ROUNDING[name] * size_B + 2**-22 * (size_B + bias)
    return First(products_KB, maxima_LB, sums_LB, bases_CB, largest_B, error_B)
