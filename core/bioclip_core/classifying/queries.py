"""Features as they are compared with label rows, and the error of a product in lower precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import Kind

ROUNDING = {"bfloat16": 2.0**-8, "float32": 2.0**-24}
"""Largest relative error of a number that is rounded to a type."""
_SMALLEST_NORM = 1e-12


def queries_of(
    features_BD: NDArray[np.float16],
    kinds: Sequence[Kind],
    temperature: float,
    members_G: Sequence[int] | None = None,
) -> list[NDArray[np.float64]]:
    """Return features as they are compared with each kind of rows, G×D (B×D without ``members_G``): centred like the rows and scaled.

    Logits are linear in the result, so the mean of several rows' logits is the logits of their mean *here*: after
    centring, and without another normalisation.
    """
    rows_BD = np.asarray(features_BD, dtype=np.float64)
    found = []
    for kind in kinds:
        query_BD = rows_BD
        if kind.feature_mean is not None:
            query_BD = rows_BD - np.asarray(kind.feature_mean, dtype=np.float64)
            query_BD /= np.maximum(np.linalg.norm(query_BD, axis=1, keepdims=True), _SMALLEST_NORM)
        if members_G is not None:
            sizes_G = np.asarray(members_G)
            starts_G = np.cumsum(sizes_G) - sizes_G
            query_BD = np.add.reduceat(query_BD, starts_G, axis=0) / sizes_G[:, None]
        found.append(query_BD * (kind.scale / temperature))
    return found


def error_of(
    queries: Sequence[NDArray[np.float64]],
    rounded: Sequence[NDArray[np.float64]],
    longest: float,
    off: float,
    dtype: str,
) -> NDArray[np.float64]:
    """Return for each of B rows a bound of the error of its products with label rows, before the results are rounded.

    By Cauchy and Schwarz |q.w - q'.w'| <= |q - q'||w| + |q'||w - w'|, and each of the D additions in fp32 adds at most its rounding.

    Args:
        queries: B×D of each kind, in fp64.
        rounded: the same after rounding to ``dtype``.
        longest: largest norm of a label row.
        off: largest norm of the difference of a label row and itself after rounding.
        dtype: type in which queries and label rows are multiplied.
    """
    dimension = queries[0].shape[1]
    # Twice the rounding: processors may cut off bits of a sum of products instead of rounding it.
    additions = 2 * ROUNDING["float32"] * (dimension + 8)
    bounds = [
        np.linalg.norm(query_BD - rounded_BD, axis=1) * longest
        + np.linalg.norm(rounded_BD, axis=1) * (off + longest * additions * (1 + ROUNDING[dtype]))
        for query_BD, rounded_BD in zip(queries, rounded, strict=True)
    ]
    return np.asarray(np.max(bounds, axis=0))


def size_of(rounded: Sequence[NDArray[np.float64]], longest: float) -> NDArray[np.float64]:
    """Return for each of B rows a bound of the size of its products with label rows, in either direction.

    Args:
        rounded: B×D of each kind, as they are multiplied.
        longest: largest norm of a label row.
    """
    return np.asarray(np.max([np.linalg.norm(rounded_BD, axis=1) * longest for rounded_BD in rounded], axis=0))
