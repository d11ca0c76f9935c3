"""Logits of single labels in fp64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.matrix import LabelMatrix

if TYPE_CHECKING:
    import torch

_PAIRS_AT_ONCE = 256
"""Labels that are computed at once. More leave the cache, and take five times as long."""
_LONG_RUN = 32
"""Labels of a row, on average, from which each row is computed by itself, as a product of matrices."""


def exact_logits(
    matrix: LabelMatrix,
    queries: Sequence[NDArray[np.float64]],
    bias_K: torch.Tensor | None,
    rows_P: NDArray[np.int64],
    columns_P: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the logits of P pairs of a row and a column in fp64.

    Args:
        matrix: the label rows.
        queries: B×D of each kind.
        bias_K: added to the products, minus infinity for impossible labels.
        rows_P: row of each pair, best in order.
        columns_P: its column.
    """
    import torch

    query_KBD = matrix.tensor(np.stack(queries))
    found = np.empty(len(rows_P))
    for own in _slices(rows_P):
        labels_PD = matrix.pairs(columns_P[own]).float().double()  # by way of fp32, which torch converts faster
        kinds_P, some_P = matrix.kind_of(columns_P[own]), rows_P[own]
        if (some_P == some_P[0]).all() and (kinds_P == kinds_P[0]).all():
            logits_P = labels_PD @ query_KBD[int(kinds_P[0]), int(some_P[0])]
        else:
            logits_P = torch.linalg.vecdot(labels_PD, query_KBD[matrix.tensor(kinds_P), matrix.tensor(some_P)])
        found[own] = logits_P.cpu().numpy()
    columns = matrix.tensor(columns_P)
    if matrix.factor_K is not None:
        found *= matrix.factor_K[columns].double().cpu().numpy()
    if bias_K is not None:
        found += bias_K[columns].double().cpu().numpy()
    return found


def _slices(rows_P: NDArray[np.int64]) -> list[slice]:
    """Return parts of pairs that are computed at once."""
    count = len(rows_P)
    starts = np.arange(0, count, _PAIRS_AT_ONCE)
    changes = np.flatnonzero(np.diff(rows_P)) + 1
    if count >= _LONG_RUN * (len(changes) + 1):
        starts = np.union1d(starts, changes)
    return [slice(*ends) for ends in zip(starts.tolist(), [*starts[1:].tolist(), count][: len(starts)], strict=True)]
