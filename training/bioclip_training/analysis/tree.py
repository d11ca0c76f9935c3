"""The tree of the taxa as distances: how far up two lineages meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import RANKS, Rank, Taxon

HIGHEST = len(RANKS)
"""Height at which two lineages have nothing in common: 7, above the kingdom."""


def meeting_heights(taxa: Sequence[Taxon]) -> NDArray[np.int8]:
    """Return the T×T heights at which lineages meet: 0 with itself, 1 in a genus, 2 in a family, up to 7 without a common rank.

    This is the cophenetic distance of the seven ranks, half the number of ranks on the way from one species to the other. A rank
    that one of two lineages lacks is passed over: *Scarus* of Scaridae meets a fish of Scaridae without its order in the family.
    """
    heights_TT = np.full((len(taxa), len(taxa)), HIGHEST, dtype=np.int8)
    agree_TT = np.ones(heights_TT.shape, dtype=bool)
    for rank in RANKS[:-1]:
        code_T = _codes([taxon.lineage[rank.depth] for taxon in taxa])
        named_T = code_T > 0
        both_TT = named_T[:, None] & named_T
        equal_TT = code_T[:, None] == code_T
        agree_TT &= ~both_TT | equal_TT
        heights_TT[both_TT & equal_TT & agree_TT] = HIGHEST - 1 - rank.depth
    np.fill_diagonal(heights_TT, 0)
    return heights_TT


def clades(taxa: Sequence[Taxon], rank: Rank) -> NDArray[np.int64]:
    """Return the number of each taxon's clade at a rank, equal for taxa that meet there or lower.

    A taxon without a name at the rank is a clade of its own. Names count with the ranks above them, since kingdoms share names.
    """
    if rank is Rank.SPECIES:
        return np.arange(len(taxa), dtype=np.int64)
    keys = [
        taxon.lineage[: rank.depth + 1] if taxon.lineage[rank.depth] else ("", number)
        for number, taxon in enumerate(taxa)
    ]
    return _codes(keys) - 1


def is_tip(taxa: Sequence[Taxon]) -> NDArray[np.bool_]:
    """Return a mask of the taxa that no other taxon lies within: of "Scarus" and "Scarus ghobban" only the latter."""
    inner = {taxon.lineage[: depth + 1] for taxon in taxa for depth in range(taxon.rank.depth if taxon.rank else 0)}
    own = [taxon.lineage[: taxon.rank.depth + 1] if taxon.rank else () for taxon in taxa]
    return np.array([bool(lineage) and lineage not in inner for lineage in own], dtype=bool)


def _codes(names: Sequence[object]) -> NDArray[np.int64]:
    """Return a number per name from 1 in order of appearance; 0 for an empty one."""
    numbers: dict[object, int] = {"": 0}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
