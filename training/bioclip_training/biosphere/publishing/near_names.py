"""Names that one misspelling away would be another's: the index that keeps planted misspellings unambiguous."""

from __future__ import annotations

from collections import defaultdict

from bioclip_training.biosphere.publishing.tree import Tree


class NearNames:
    """All binomials of a tree, by the words that remain when one letter is removed (symmetric deletion)."""

    def __init__(self, tree: Tree) -> None:
        self._by_rest: dict[str, set[str]] = defaultdict(set)
        self._species: dict[str, set[int]] = defaultdict(set)
        self._stems: dict[str, set[int]] = defaultdict(set)
        for name, number in tree.names():
            self._species[name].add(number)
            self._stems[name[:-2]].add(number)
            for rest in _rests(name):
                self._by_rest[rest].add(name)

    def is_only(self, written: str, number: int) -> bool:
        """True if a misspelling is no name itself, and only names of this species are one letter or exchange away."""
        if written in self._species:
            return False
        found = {name for rest in _rests(written) for name in self._by_rest.get(rest, ())}
        return bool(found) and {one for name in found for one in self._species[name]} == {number}

    def is_free(self, written: str) -> bool:
        """True if no name is one letter or exchange away."""
        return not any(rest in self._by_rest for rest in _rests(written))

    def has_only_stem(self, name: str, number: int) -> bool:
        """True if no other species has a name that only differs in its last two letters."""
        return self._stems.get(name[:-2], set()) == {number}


def _rests(name: str) -> list[str]:
    return [name, *(name[:at] + name[at + 1 :] for at in range(len(name)))]
