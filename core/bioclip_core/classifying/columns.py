"""The labels in use as K columns, and the taxa of each level as runs of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet

MOST_SUMMANDS = 64
"""Numbers that are added up in fp32 in a row: equal ones round the same way each time, and the sum of 64 stays within 4e-6."""


@dataclass(frozen=True, slots=True)
class Level:
    """The T taxa of one level that have a label in use, as runs of columns in order."""

    name: str
    starts_T: NDArray[np.int64]
    """First column of each."""
    spans_T: NDArray[np.int64]
    """Place of each in ``LabelSet.spans(name)``."""
    rows_T: NDArray[np.int64]
    """First row of each in the label set, used or not."""
    named_T: NDArray[np.bool_]
    """False for a run without a name at this level."""
    is_single: bool
    """True if each taxon is one column."""


@dataclass(frozen=True, slots=True)
class Columns:
    """K labels in use, the levels of their taxa, and the slots in which probabilities are added up first."""

    count: int
    """K."""
    rows_K: NDArray[np.int64] | None
    """The label set's row of each column; None if every row is in use."""
    levels: tuple[Level, ...]
    """Most general first, so that levels of single columns come last."""
    slot_starts_S: NDArray[np.int64]
    """First column of each slot. Slots are parts of the taxa of the most specific level that has runs, so all sums at and above
    it are sums of slots."""

    @classmethod
    def of(cls, labels: LabelSet, chunk: int) -> Columns:
        """Return the columns of a label set.

        Args:
            labels: the label set.
            chunk: labels that are computed at once; a slot lies within one chunk.
        """
        is_whole = bool(labels.kept_N.all())
        rows_K = None if is_whole else np.flatnonzero(labels.kept_N)
        count = len(labels) if rows_K is None else len(rows_K)
        before_N = None if is_whole else np.concatenate([[0], np.cumsum(labels.kept_N)])
        levels = tuple(_level(labels, name, count, before_N) for name in labels.levels)
        runs = [level.starts_T for level in levels if not level.is_single][-1:]
        return cls(count, rows_K, levels, split(count, *runs, np.arange(0, count, chunk)))

    def rows_of(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the label set's rows of columns."""
        return columns if self.rows_K is None else self.rows_K[columns]


def split(count: int, *starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the starts of runs that begin at any of the starts and after each ``MOST_SUMMANDS`` of ``count`` places."""
    is_start = np.zeros(count, dtype=bool)
    is_start[::MOST_SUMMANDS] = True
    for places in starts:
        is_start[places] = True
    return np.flatnonzero(is_start)


def _level(labels: LabelSet, name: str, count: int, before_N: NDArray[np.int64] | None) -> Level:
    spans = labels.spans(name)
    if before_N is None:
        chosen = np.arange(len(spans.starts_S))
        starts_T = spans.starts_S
    else:
        first_S = before_N[spans.starts_S]
        chosen = np.flatnonzero(before_N[spans.ends_S] > first_S)
        starts_T = first_S[chosen]
    return Level(
        name, starts_T, chosen, spans.starts_S[chosen], spans.named_S[chosen], is_single=len(starts_T) == count
    )
