"""Ranks of names that a collection writes in a row, with holes: placed by the other lineages of the collection, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from bioclip_core.taxonomy import RANKS

Lineage = tuple[str, ...]
"""Seven names, kingdom first; an unknown one is empty."""
_UPPER = 5
"""Ranks above the genus."""
_KINGDOMS = frozenset(
    "Animalia Plantae Fungi Chromista Protista Protozoa Bacteria Archaea Viruses Metazoa Archaeplastida Chloroplastida".split()
)


class KnownRanks:
    """The ranks at which names occur in lineages without doubt."""

    def __init__(self, lineages: Iterable[Lineage]) -> None:
        self._depths: dict[str, set[int]] = {name: {0} for name in _KINGDOMS}
        for lineage in lineages:
            for depth, name in enumerate(lineage[:_UPPER]):
                if name:
                    self._depths.setdefault(name, set()).add(depth)

    def placed(self, taxonomic: str, scientific: str) -> tuple[Lineage, bool]:
        """Return the lineage of names in a row, and True if every name has a rank without doubt.

        Names that could have several ranks are left out; genus and epithet come from the scientific name.
        """
        words, below = taxonomic.split(), scientific.split()
        lower = ("", "")
        if below and words[-len(below) :] == below:
            words = words[: -len(below)]
            lower = (below[0], " ".join(below[1:]))
        elif below and not words:
            lower = (below[0], " ".join(below[1:]))
        upper = ["", "", "", "", ""]
        possible = list(self._possible(words))
        for place, word in enumerate(words):
            depths = {ways[place] for ways in possible}
            if len(depths) == 1:
                upper[depths.pop()] = word
        is_sure = not words or len(possible) == 1
        return (*upper, *lower), is_sure

    def _possible(self, words: list[str]) -> Iterator[tuple[int, ...]]:
        """Yield each way to give the words ascending ranks above the genus, at ranks at which they are known."""
        for depths in combinations(range(_UPPER), len(words)):
            if all(depth in self._depths.get(word, _ALL) for word, depth in zip(words, depths, strict=True)):
                yield depths


_ALL = frozenset(range(len(RANKS)))
