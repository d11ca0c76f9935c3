"""Counts of a view for its filters: each filter's values with the rows that they would show beside the other filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bioclip_plugin.browsing.columns import VERDICTS, Columns
from bioclip_plugin.browsing.filters import Mask, all_of, masks_of, node_named, taxa_by, undecided
from bioclip_plugin.browsing.query import UNDECIDED, ViewQuery
from bioclip_plugin.browsing.tree import TaxonNode
from bioclip_plugin.items.verdicts import REVIEW_VERDICTS


@dataclass(frozen=True, slots=True)
class TaxonCount:
    """A taxon with the rows that count as it or as a taxon below it."""

    taxon: TaxonNode
    count: int
    has_below: bool
    """True if rows count as a taxon below it."""


@dataclass(frozen=True, slots=True)
class Facets:
    """Exact counts of rows by the values of each filter; all other filters of the view hold."""

    total: int
    """Rows of the view."""
    above: tuple[TaxonNode, ...]
    """The chosen taxon's ancestors and itself, outermost first; empty without one."""
    taxa: tuple[TaxonCount, ...]
    """Children of the chosen taxon (without one, the taxa at the top) that have rows, in the order of the tree."""
    without_taxon: int
    """Rows without a taxon, if none is chosen; otherwise those of the chosen taxon itself, no lower one."""
    cameras: Mapping[str, int]
    """By name, in their order; an empty name: without one."""
    verdicts: Mapping[str, int]
    review_verdicts: Mapping[str, int]
    flags: Mapping[str, int]
    hours: tuple[int, ...]
    """24 counts of rows with a time."""
    reviewed: int
    failed: int


def facets_of(columns: Columns, query: ViewQuery) -> Facets:
    """Return the counts for the filters of a view.

    Raises:
        UsageError: as for :func:`~bioclip_plugin.browsing.filters.masks_of`.
    """
    masks = masks_of(columns, query)

    def without(name: str) -> Mask:
        return all_of(columns, [mask for other, mask in masks.items() if other != name])

    every = all_of(columns, masks.values())
    verdict_mask = without("verdicts")
    said = np.array([*(REVIEW_VERDICTS.index(mark.verdict) for mark in columns.reviews), -1], np.int8)
    hours = np.bincount(columns.hours[without("hours") & columns.timed], minlength=24)
    above, taxa, alone = _taxa(columns, query, without("taxon"))
    return Facets(
        int(np.count_nonzero(every)),
        above,
        taxa,
        alone,
        _counts(columns.cameras, columns.camera_N[without("cameras")], missing=""),
        {
            **_counts(VERDICTS, columns.verdict_N[verdict_mask]),
            **_positive({UNDECIDED: int(np.count_nonzero(verdict_mask & undecided(columns)))}),
        },
        _counts(REVIEW_VERDICTS, said[columns.review_N[without("review_verdicts")]]),
        _flag_counts(columns, every),
        tuple(hours.tolist()),
        int(np.count_nonzero(without("reviewed") & (columns.review_N >= 0))),
        int(np.count_nonzero(without("failures") & (columns.failure_N >= 0))),
    )


def _counts(words: Sequence[str], numbers: np.ndarray, missing: str | None = None) -> dict[str, int]:
    """Return the counts of numbers by their words, without those that have none."""
    counts = np.bincount(numbers + 1, minlength=len(words) + 1).tolist()
    found = dict(zip(words, counts[1:], strict=True))
    return _positive({missing: counts[0], **found} if missing is not None else found)


def _positive(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _flag_counts(columns: Columns, mask: Mask) -> dict[str, int]:
    # A further flag narrows the view, since all that are asked for must be there.
    flags = columns.flags_N[mask]
    return _positive(
        {name: int(np.count_nonzero(flags & np.uint32(1 << bit))) for bit, name in enumerate(columns.flags)}
    )


def _taxa(columns: Columns, query: ViewQuery, mask: Mask) -> tuple[tuple[TaxonNode, ...], tuple[TaxonCount, ...], int]:
    counts = np.bincount(taxa_by(columns, query)[mask] + 1, minlength=len(columns.taxa) + 1)
    none, own = int(counts[0]), counts[1:]
    up_to = np.concatenate(([0], np.cumsum(own)))
    if query.taxon:
        chosen = node_named(columns, query.taxon)
        above, alone, place, stop = [chosen], int(own[chosen.first]), chosen.first + 1, chosen.stop
        while above[0].parent >= 0:
            above.insert(0, columns.taxa[above[0].parent])
    else:
        above, alone, place, stop = [], none, 0, len(columns.taxa)
    found = []
    while place < stop:  # from each child to the next, over everything below it
        node = columns.taxa[place]
        count, below = int(up_to[node.stop] - up_to[node.first]), int(up_to[node.stop] - up_to[node.first + 1])
        if count:
            found.append(TaxonCount(node, count, below > 0))
        place = node.stop
    return tuple(above), tuple(found), alone
