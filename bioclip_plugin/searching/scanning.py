"""Exact search: every row of a matrix is compared, by usearch where it is installed, else by blocks in torch or NumPy."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bioclip_core.process.quiet import quiet

log = logging.getLogger(__name__)

Scanner = Literal["usearch", "torch", "numpy"]

_SPARE = 64
"""Rows that a scan returns beyond those that are wanted, so that rounding at the end of its list changes nothing."""
_TOLERANCE = 1e-4
"""Largest error of a float32 sum of the products of two vectors of length 1."""
_NUMPY_BLOCK = 1 << 20
"""Numbers in a block: 4 MB in float32, which the processor's cache holds."""
_TORCH_BLOCK = 12 << 20
"""Larger, since torch's threads wait for each other at each block."""
_COPIED = 16 << 20
"""Numbers that are copied at once out of a narrow choice of rows."""
_WIDE = 0.25
"""Share of rows from which usearch compares all of them and the others are dropped; a narrower choice is copied out."""
_TORCH_PAYS = 1 << 27
"""Numbers in a matrix from which importing torch takes less time than it saves."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest rows, best first: K row numbers and K cosines; rows with equal cosines are in ascending order."""

    rows_K: NDArray[np.int64]
    cosine_K: NDArray[np.float64]
    scanner: Scanner


@cache
def has_usearch() -> bool:
    """Return True if usearch is installed and can be imported; a line on the log says if it cannot."""
    if find_spec("usearch") is None:
        return False
    try:
        import usearch.index  # noqa: F401
    except Exception as error:  # whatever its library for this processor raises
        log.warning("usearch is installed but cannot be imported (%s); searches are slower without it", error)
        return False
    return True


def scanner_for(vectors_ND: NDArray[np.float16]) -> Scanner:
    """Return the fastest scanner that is installed; torch is not imported for a small matrix."""
    if has_usearch():
        return "usearch"
    return "torch" if "torch" in sys.modules or vectors_ND.size >= _TORCH_PAYS else "numpy"


def nearest(
    vectors_ND: NDArray[np.float16],
    query_D: NDArray[np.floating[Any]],
    count: int,
    *,
    allowed: NDArray[np.int64] | None = None,
    deviation: float = 0.0,
    scanner: Scanner | None = None,
) -> Nearest:
    """Return the rows with the largest cosines to a query, exactly: all scanners give the same rows in the same order.

    A scanner sums products in float32. The best rows of its list are compared again in float64, and the list is made longer
    until no row outside it could be among the wanted ones.

    Args:
        vectors_ND: L2-normalised rows.
        query_D: the query, of any length above 0.
        count: K, the number of rows to return; fewer are returned if there are fewer.
        allowed: ascending rows that may be returned; None: all.
        deviation: largest difference of a row's length from 1.
        scanner: the program to use; None: the fastest one.
    """
    chosen = scanner or scanner_for(vectors_ND)
    unit_D = query_D.astype(np.float64) / np.linalg.norm(query_D.astype(np.float64))
    rows = len(vectors_ND) if allowed is None else len(allowed)
    wanted, listed = min(count, rows), min(count + _SPARE, rows)
    # usearch takes both vectors in float16.
    error = _TOLERANCE + float(np.linalg.norm(unit_D - unit_D.astype(np.float16))) * (chosen == "usearch")
    while True:
        rows_L, product_L = _best(vectors_ND, unit_D.astype(np.float32), listed, allowed, chosen)
        close_LD = vectors_ND[rows_L].astype(np.float64)
        cosine_L = close_LD @ unit_D / np.maximum(np.linalg.norm(close_LD, axis=1), np.finfo(np.float64).tiny)
        order_L = np.lexsort((rows_L, -cosine_L))[:wanted]
        if listed == rows or not wanted or cosine_L[order_L[-1]] > _reach(float(product_L.min()) + error, deviation):
            return Nearest(rows_L[order_L], cosine_L[order_L], chosen)
        listed = min(4 * listed, rows)


def _reach(product: float, deviation: float) -> float:
    """Return the largest cosine of a row whose product is at most this, and whose length is nearly 1."""
    return max(product / (1 - deviation), product / (1 + deviation))


def _best(
    vectors_ND: NDArray[np.float16],
    query_D: NDArray[np.float32],
    count: int,
    allowed: NDArray[np.int64] | None,
    scanner: Scanner,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows with the largest products and the products, in any order."""
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if scanner == "usearch":
        return _by_usearch(vectors_ND, query_D, count, allowed)
    multiply = _torch_products if scanner == "torch" else _numpy_products
    product_A = multiply(vectors_ND, query_D, allowed)
    best = np.argpartition(product_A, len(product_A) - count)[-count:]
    return (best.astype(np.int64) if allowed is None else allowed[best]), product_A[best]


def _numpy_products(
    vectors_ND: NDArray[np.float16], query_D: NDArray[np.float32], allowed: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    product_A = np.empty(len(vectors_ND) if allowed is None else len(allowed), np.float32)
    size = max(1, _NUMPY_BLOCK // len(query_D))
    for first in range(0, len(product_A), size):
        chosen: Any = slice(first, first + size) if allowed is None else allowed[first : first + size]
        product_A[first : first + size] = vectors_ND[chosen].astype(np.float32) @ query_D
    return product_A


def _torch_products(
    vectors_ND: NDArray[np.float16], query_D: NDArray[np.float32], allowed: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    import torch

    product_A = np.empty(len(vectors_ND) if allowed is None else len(allowed), np.float32)
    size = max(1, _TORCH_BLOCK // len(query_D))
    with torch.inference_mode(), quiet():  # of the warning that a mapped file cannot be written
        products, query = torch.from_numpy(product_A), torch.from_numpy(query_D)
        wide_BD = torch.empty((min(size, len(product_A)), len(query_D)))
        for first in range(0, len(product_A), size):
            chosen: Any = slice(first, first + size) if allowed is None else allowed[first : first + size]
            block_BD = torch.from_numpy(np.asarray(vectors_ND[chosen]))
            part_BD = wide_BD[: len(block_BD)].copy_(block_BD)
            torch.mv(part_BD, query, out=products[first : first + size])
    return product_A


def _by_usearch(
    vectors_ND: NDArray[np.float16], query_D: NDArray[np.float32], count: int, allowed: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if allowed is None:
        return _usearch_rows(vectors_ND, query_D, count)
    if len(allowed) < _WIDE * len(vectors_ND):
        rows_L, product_L = _copied_out(vectors_ND, query_D, count, allowed)
        return allowed[rows_L], product_L
    asked = count
    while True:  # among the best of all rows are enough of the allowed ones
        asked = min(2 * asked * len(vectors_ND) // len(allowed), len(vectors_ND))
        rows_L, product_L = _usearch_rows(vectors_ND, query_D, asked)
        place_L = np.minimum(np.searchsorted(allowed, rows_L), len(allowed) - 1)
        is_allowed_L = allowed[place_L] == rows_L
        if is_allowed_L.sum() >= count:
            order = np.argsort(-product_L[is_allowed_L], kind="stable")[:count]
            return rows_L[is_allowed_L][order], product_L[is_allowed_L][order]


def _copied_out(
    vectors_ND: NDArray[np.float16], query_D: NDArray[np.float32], count: int, allowed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return places in ``allowed``, whose rows are copied some at a time."""
    size = max(1, _COPIED // len(query_D))
    found = []
    for first in range(0, len(allowed), size):
        rows = allowed[first : first + size]
        place_L, product_L = _usearch_rows(vectors_ND[rows], query_D, min(count, len(rows)))
        found.append((place_L + first, product_L))
    place_L, product_L = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-product_L, kind="stable")[:count]
    return place_L[order], product_L[order]


def _usearch_rows(
    vectors_ND: NDArray[np.float16], query_D: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    from usearch.compiled import MetricKind
    from usearch.index import search

    half_D = query_D.astype(np.float16)
    found = search(np.asarray(vectors_ND), half_D, count, MetricKind.IP, exact=True, threads=os.cpu_count() or 1)
    return found.keys.astype(np.int64), 1.0 - found.distances.astype(np.float32)
