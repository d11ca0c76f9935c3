"""The logit from which labels of a row get a second look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.first import First
from bioclip_core.classifying.matrix import LabelMatrix

if TYPE_CHECKING:
    import torch

UNCERTAIN = 4e-5
"""Largest share of a sum by which the estimate of its labels without a second look may be wrong."""
_DEPTHS = (10.0, 13.0, 15.0, 16.0, 17.0, 18.0, 20.0, 22.0)
"""Labels this far below the largest logit get no second look, unless they hold too much together; then the next depth is tried."""
_FEWEST_LOOKED_AT = 256
_SHARE_LOOKED_AT = 128
"""A row that needs a second look at more than 1/128 of its labels takes the exact path, which costs no more."""
_FEW_OPEN = 1 / 8
"""This share of the rows may have more labels looked at again, since a pass over all labels for them costs as much as one for many."""
_SHARE_OF_FEW = 8
"""They may have an eighth of the labels each."""
_STEPS, _DEEPEST = 4, 64
"""Steps per unit, and largest depth, of the floors of these rows."""


def most_looked_at(matrix: LabelMatrix) -> int:
    """Return the number of labels of a row from which the exact path costs less than a second look at each."""
    return max(_FEWEST_LOOKED_AT, matrix.columns.count // _SHARE_LOOKED_AT)


def floors(
    first: First, matrix: LabelMatrix, bias_K: torch.Tensor | None, top: int, rows: int
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
        open_O = open_O[can_O & (left_O * wrong_B[open_O] > UNCERTAIN / 2)]
        if not len(open_O):
            break
    is_open_B = floor_B.isinf() | (rest_B * wrong_B > UNCERTAIN / 2)
    if 0 < int(is_open_B.count_nonzero()) <= max(1, _FEW_OPEN * rows):
        for row in is_open_B.nonzero()[:, 0].tolist():
            deep = _deep_floor(first, matrix, bias_K, row, float(wrong_B[row]))
            floor_B[row] = min(float(last_B[row]), deep) if deep is not None else floor_B[row]
    left_LB = shares_LB[:, :rows] * (maxima_LB[:, :rows] < floor_B)
    return floor_B.double().cpu().numpy(), left_LB


def _deep_floor(first: First, matrix: LabelMatrix, bias_K: torch.Tensor | None, row: int, wrong: float) -> float | None:
    """Return a lower floor for one row, by all of its logits; None if too many labels would be above it."""
    logits_K = first.logits_of(matrix, bias_K, row)
    below_K = (float(first.largest_B[row]) - logits_K).numpy(force=True)
    if np.isnan(below_K).any():
        return None
    steps_K = np.clip(below_K * _STEPS, 0, _STEPS * _DEEPEST).astype(np.int64)
    left = np.bincount(steps_K, weights=np.exp(-below_K), minlength=_STEPS * _DEEPEST + 1)[::-1].cumsum()[::-1]
    fitting = np.flatnonzero(left * wrong <= 0.9 * UNCERTAIN)
    if not len(fitting) or np.count_nonzero(steps_K < fitting[0]) > matrix.columns.count // _SHARE_OF_FEW:
        return None
    return float(first.largest_B[row]) - int(fitting[0]) / _STEPS
