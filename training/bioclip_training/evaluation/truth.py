"""Truths of an evaluation: the taxa of a label set that are right for each taxon of a catalog, at every level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet
from bioclip_core.taxonomy import RANKS, Rank, Taxon

EXACT = "label"
"""Level at which the whole lineage is the truth, whatever its rank."""

RULE = (
    "A taxon is found in the label set by its whole lineage; where higher ranks differ, by all taxa of its rank with its name "
    "(genus and epithet for a species), as long as no kingdom contradicts and they are all of one kingdom."
)


@dataclass(frozen=True, slots=True)
class LevelTruth:
    """Right spans of one level for C taxa."""

    level: str
    """Level of the label set."""
    spans_CK: NDArray[np.int64]
    """Numbers of the right spans, -1 if there are fewer than K."""
    named_C: NDArray[np.bool_]
    """True for a taxon with a name at this level, so that its images count; a plain label is of no rank."""


def truths_of(taxa: Sequence[Taxon], labels: LabelSet) -> dict[str, LevelTruth]:
    """Return the right spans at ``label`` (the whole lineage) and at each rank, by the rule ``RULE``.

    A span whose labels are all masked is not a possible answer and so is not right either.
    """
    found = {}
    for rank in RANKS:
        index = _NameIndex(taxa, labels, rank)
        named_C = np.array([bool(taxon.lineage[rank.depth]) and not taxon.is_plain for taxon in taxa], dtype=bool)
        spans = [index.spans(taxon) if taxon.lineage[rank.depth] else [] for taxon in taxa]
        found[rank.value] = LevelTruth(rank.value, padded(spans), named_C)
    # At the level of species every lineage is a span of its own, also one that ends at a genus.
    exact = {rank: _NameIndex(taxa, labels, rank, Rank.SPECIES) for rank in {taxon.rank for taxon in taxa} if rank}
    spans = [exact[taxon.rank].spans(taxon) if taxon.rank else [] for taxon in taxa]
    named_C = np.array([taxon.rank is not None for taxon in taxa], dtype=bool)
    return {**found, EXACT: LevelTruth(Rank.SPECIES.value, padded(spans), named_C)}


class _NameIndex:
    """The usable spans of a level with one of the taxa's names at a rank, by whole path and by name.

    With a ``level``, only spans of that level with a lineage that ends at the rank.
    """

    def __init__(self, taxa: Sequence[Taxon], labels: LabelSet, rank: Rank, level: Rank | None = None) -> None:
        self._rank = rank
        self._by_path: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_name: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
        spans = labels.spans((level or rank).value)
        running_N = np.concatenate([[0], np.cumsum(labels.kept_N)])
        asked_S = running_N[spans.ends_S] > running_N[spans.starts_S]
        for named in (rank, Rank.GENUS) if rank is Rank.SPECIES else (rank,):
            asked_S &= _has_one_of(labels, named, {taxon.lineage[named.depth] for taxon in taxa})[spans.starts_S]
        for span in np.flatnonzero(asked_S).tolist():
            lineage = labels.taxon(int(spans.starts_S[span])).lineage
            if lineage[rank.depth] and not (level and any(lineage[rank.depth + 1 :])):
                self._by_path[lineage[: rank.depth + 1]].append(span)
                self._by_name[self._name(lineage)].append((lineage[0], span))

    def spans(self, taxon: Taxon) -> list[int]:
        """Return the right spans for a taxon with a name at this rank."""
        if path := self._by_path.get(taxon.lineage[: self._rank.depth + 1]):
            return path
        fitting = [
            (kingdom, span)
            for kingdom, span in self._by_name.get(self._name(taxon.lineage), [])
            if not (kingdom and taxon.kingdom) or kingdom == taxon.kingdom
        ]
        kingdoms = {kingdom for kingdom, _ in fitting if kingdom}
        return [span for _, span in fitting] if len(kingdoms) <= 1 else []

    def _name(self, lineage: Sequence[str]) -> tuple[str, ...]:
        first = Rank.GENUS if self._rank is Rank.SPECIES else self._rank
        return tuple(lineage[first.depth : self._rank.depth + 1])


def _has_one_of(labels: LabelSet, rank: Rank, names: set[str]) -> NDArray[np.bool_]:
    """Return a mask of the N labels with one of these names at a rank: a catalog has a few hundred of a million labels."""
    wanted = np.array([name in names for name in labels.dictionaries[rank.value].to_pylist()], dtype=bool)
    return np.asarray(wanted[labels.codes[rank.value]])


def padded(spans: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return lists as rows of one array, filled with -1."""
    table = np.full((len(spans), max([1, *map(len, spans)])), -1, dtype=np.int64)
    for row, numbers in enumerate(spans):
        table[row, : len(numbers)] = numbers
    return table
