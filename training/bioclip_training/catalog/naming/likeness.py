"""Names within two letters of a better known one: suspected misspellings, found through indexes of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from bioclip_core.names import key_of
from bioclip_training.taxonomy.spelling import MOST_EDITS, distance, edits_allowed, equal_endings

TIMES_AS_OFTEN, TIMES_ELSEWHERE = 4, 2
"""A name is taken for the right spelling of another one if it has as many times its rows: in the same source, and in another one."""
_FEW = 20
_MOST_COMPARED = 500
"""Names of a catalog up to which all are compared with each other by two letters; of more, by one, which an index finds quickly."""
_LARGE = 2_000
"""Words under one genus (or epithet) from which only one error is looked for, so that the search stays quick."""


@dataclass(slots=True)
class Spelling:
    """One spelling of a name in the sources of a catalog."""

    name: str
    rows: int = 0
    sources: set[str] = field(default_factory=set)
    common_names: set[str] = field(default_factory=set)


class Spellings:
    """The names of all sources, to be compared with each other."""

    def __init__(self) -> None:
        self._by_key: dict[str, Spelling] = {}

    def add(self, name: str, source: str, common_name: str = "", rows: int = 1) -> None:
        """Count rows with a name of one or two words."""
        if not name:
            return
        found = self._by_key.get(name)
        if found is None:
            found = self._by_key[name] = Spelling(name)
        found.rows += rows
        found.sources.add(source)
        if common_name:
            found.common_names.add(common_name.casefold())

    def suspects(self, known: Callable[[str], bool] = lambda _name: False) -> dict[str, str]:
        """Return the names that are probably misspelt, each with the name that is meant.

        Args:
            known: True for a name that a taxonomy has.
        """
        if len(self._by_key) < 2:
            return {}
        most = max(spelling.rows for spelling in self._by_key.values())
        rare = [one for one in self._by_key.values() if one.rows * TIMES_ELSEWHERE <= most and len(one.sources) == 1]
        keys = {one.name: _key(one.name) for one in self._by_key.values()}
        index = _Index({keys[one.name]: one for one in self._by_key.values() if one.rows >= TIMES_ELSEWHERE})
        found = {}
        for one in rare:
            likes = [like for like in index.near(keys[one.name]) if _is_better(like, one)]
            if likes and not known(one.name):
                found[one.name] = max(likes, key=lambda like: (like.rows, like.name)).name
        return found

    def has(self, name: str) -> bool:
        """True if a source has this name."""
        return name in self._by_key

    def like(self, name: str, others: Mapping[str, int]) -> str:
        """Return the name within two letters of one that no source has; empty if there is none.

        Args:
            others: further names, with how often each is given: one that is given more often than the name is right.
        """
        found = [like.name for like in self._whole_index().near(_key(name))]
        key = _key(name)
        found += [
            other for other, times in others.items()
            if times > others.get(name, 0) and other != name and next(_Index({_key(other): Spelling(other)}).near(key), None)
        ]  # fmt: skip
        return min(found, default="")

    @property
    def letters_compared(self) -> int:
        """Letters by which near names that are kept may differ: two, or one among many names."""
        return MOST_EDITS if len(self._by_key) <= _MOST_COMPARED else 1

    def near_pairs(self, known: Callable[[str], bool] = lambda _name: False) -> Iterator[tuple[str, str]]:
        """Yield the names that stand beside a near one which is at least as frequent, each with it; not those that a taxonomy has.

        Near are names within :attr:`letters_compared`.
        Names with different common names, and suspects, are none of them.
        """
        index, most = self._whole_index(), self.letters_compared
        for one in self._by_key.values():
            likes = [
                like for like in index.near(_key(one.name), most)
                if (like.rows, like.name) > (one.rows, one.name) and not _are_both_known(like, one) and not _is_better(like, one)
            ]  # fmt: skip
            if likes and not known(one.name):
                yield one.name, max(likes, key=lambda like: (like.rows, like.name)).name

    def _whole_index(self) -> _Index:
        return _Index({_key(one.name): one for one in self._by_key.values()})


def _are_both_known(like: Spelling, one: Spelling) -> bool:
    """True if the sources have different common names for two names."""
    return bool(one.common_names and like.common_names and one.common_names.isdisjoint(like.common_names))


def _key(name: str) -> tuple[str, str]:
    """Return the keys of the two words of a clean name."""
    genus, _, epithet = name.replace("× ", "").partition(" ")
    return key_of(genus), key_of(epithet)


def _is_better(like: Spelling, one: Spelling) -> bool:
    """True if a name is so much better known than another that this one is its misspelling."""
    if _are_both_known(like, one):
        return False
    return like.rows >= one.rows * (TIMES_ELSEWHERE if like.sources - one.sources else TIMES_AS_OFTEN)


class _Index:
    """Names by genus."""

    def __init__(self, names: Mapping[tuple[str, str], Spelling]) -> None:
        self._names = names
        self._epithets: dict[str, set[str]] = defaultdict(set)
        for genus, epithet in names:
            self._epithets[genus].add(epithet)
        self._near_genera = cache(_Words(set(self._epithets)).near)
        self._words = cache(lambda genus: _Words(self._epithets[genus]))

    def near(self, key: tuple[str, str], most: int = MOST_EDITS) -> Iterator[Spelling]:
        """Yield the names within two letters of a key, or fewer, and those with another ending; without itself."""
        genus, epithet = key
        if epithet and (under := self._epithets.get(genus)) is not None:
            others = self._near_under(genus, epithet, min(most, edits_allowed(epithet)))
            others |= {other for other in equal_endings(epithet) if other in under}
            yield from (self._names[genus, other] for other in others if other not in ("", epithet))
        for other, away in self._near_genera(genus, min(most, edits_allowed(genus))):
            if other == genus:
                continue
            if not epithet and "" in self._epithets[other]:
                yield self._names[other, ""]
            elif epithet:
                left = min(most - away, edits_allowed(epithet))
                yield from (self._names[other, word] for word in self._near_under(other, epithet, left) if word)

    def _near_under(self, genus: str, epithet: str, most: int) -> set[str]:
        """Return the epithets of a genus within some errors: a few are compared one by one, many through an index."""
        under = self._epithets[genus]
        if most < 1:
            return {epithet} & under
        if len(under) <= _FEW:
            return {word for word in under if distance(epithet, word, most) <= most}
        return {word for word, _ in self._words(genus).near(epithet, most)}


class _Words:
    """Words by their spellings with one letter left out, and by first letter and length."""

    def __init__(self, words: set[str]) -> None:
        self._words = words
        self._lost: dict[str, list[str]] = defaultdict(list)
        self._by_shape: dict[tuple[str, int], list[str]] = defaultdict(list)
        for word in words:
            self._by_shape[word[:1], len(word)].append(word)
            for lost in _losses(word):
                self._lost[lost].append(word)

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def near(self, word: str, most: int) -> list[tuple[str, int]]:
        """Return the words within some errors, each with their number, the word itself included."""
        found = {word: 0} if word in self._words else {}
        if most < 1 or not word:
            return list(found.items())
        near = {other for lost in (word, *_losses(word)) for other in self._lost.get(lost, ())}
        near |= {lost for lost in _losses(word) if lost in self._words}
        if most > 1 and len(self._words) <= _LARGE:
            for length in range(len(word) - most, len(word) + most + 1):
                near.update(self._by_shape.get((word[:1], length), ()))
        for other in near:
            if (away := distance(word, other, most)) <= most:
                found[other] = away
        return list(found.items())


def _losses(word: str) -> Iterator[str]:
    return (word[:at] + word[at + 1 :] for at in range(len(word)))
