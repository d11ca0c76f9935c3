"""Distance between two spellings, and endings that count as the same, such as those of another gender."""

from __future__ import annotations

from collections.abc import Sequence

# Endings that an epithet takes with the gender of its genus, and i/ii, which authors confuse.
_ENDINGS: tuple[tuple[str, ...], ...] = (
    ("us", "a", "um"),
    ("er", "ra", "rum", "era", "erum"),
    ("is", "e"),
    ("ior", "ius"),
    ("i", "ii"),
    ("ae", "iae"),
)

MOST_EDITS = 2
_SHORTEST, _SHORTEST_FOR_TWO = 5, 8  # letters of a word that may hold one error, and two


def equal_endings(epithet: str) -> list[str]:
    """Return the epithet with the other endings of its class: "albus" gives "alba" and "album".

    >>> equal_endings("albus")
    ['alba', 'album']
    """
    found = dict.fromkeys(
        epithet.removesuffix(ending) + other
        for endings in _ENDINGS
        for ending in endings
        if epithet.endswith(ending) and len(epithet) - len(ending) > 2
        for other in endings
    )
    return [other for other in found if other != epithet]


def edits_allowed(word: str) -> int:
    """Return how many errors a word of this length may hold before it could be any other word."""
    if len(word) < _SHORTEST:
        return 0
    return MOST_EDITS if len(word) >= _SHORTEST_FOR_TWO else 1


def letters_of(word: str) -> int:
    """Return the letters of a word as bits. An error changes at most two of them, so distant words are told apart quickly."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) & 31)
    return bits


class AlikeWords:
    """Words of one length that are looked through quickly for those with nearly the letters of another one."""

    def __init__(self, words: Sequence[str]) -> None:
        import numpy as np

        self._words = words
        letters = np.frombuffer("".join(words).encode("latin-1", "replace"), np.uint8) & 31
        table = np.zeros((len(words), 32), np.int8)
        if words:
            np.add.at(table, (np.repeat(np.arange(len(words)), len(words[0])), letters), 1)
        self._counts_of_words = table

    def alike(self, word: str, most: int) -> list[str]:
        """Return the words whose letters, counted, differ by at most two for each of ``most`` errors; no other can be as near."""
        import numpy as np

        own = np.bincount(np.frombuffer(word.encode("latin-1", "replace"), np.uint8) & 31, minlength=32).astype(np.int8)
        near = np.abs(self._counts_of_words - own).sum(1) <= 2 * most
        return [self._words[at] for at in np.flatnonzero(near).tolist()]


def distance(one: str, other: str, most: int) -> int:
    """Return the errors between two words (a letter lost, added, changed, or two neighbours exchanged), at most ``most + 1``.

    Optimal string alignment, the restricted Damerau-Levenshtein distance.
    """
    if one == other:
        return 0
    if abs(len(one) - len(other)) > most or (letters_of(one) ^ letters_of(other)).bit_count() > 2 * most:
        return most + 1
    one, other = _differing(one, other)
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        two_before, before, row = before, row, [i]
        for j, opposite in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != opposite))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == opposite:
                cost = min(cost, two_before[j - 2] + 1)
            row.append(cost)
        if min(row) > most and min(before) >= most:  # an exchange reaches back two rows
            return most + 1
    return min(row[-1], most + 1)


def _differing(one: str, other: str) -> tuple[str, str]:
    """Return two different words without their common beginning and end, which do not change their distance."""
    shorter, begin, end = min(len(one), len(other)), 0, 0
    while begin < shorter and one[begin] == other[begin]:
        begin += 1
    while end < shorter - begin and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[begin : len(one) - end], other[begin : len(other) - end]
