"""Labels with a second look, and the best taxa among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.columns import Level


@dataclass(slots=True)
class Pairs:
    """Labels with a second look, by row and column."""

    rows_P: NDArray[np.int64]
    columns_P: NDArray[np.int64]
    logits_P: NDArray[np.float64]


def best_of(
    level: Level, pairs: Pairs, powers_P: NDArray[np.float64], rows: int, count: int, *, needs_name: bool
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
