"""Invented Latin and common names; the beginning of each scientific name marks it as fiction."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np

from bioclip_core.taxonomy import Rank

MARK = "Fict"
"""Beginning of every name from kingdom to genus, and therefore of every scientific name of a species."""

KINGDOM = "Fictanimalia"

_ONSETS = "b br c cl d dr f fl g gr h j k l m n p pr r s t tr v z".split()
_VOWELS = "a e i o u".split()
_CODAS = "l m n r s x nd rv rm st".split()
_SUFFIX = {Rank.PHYLUM: "ozoa", Rank.CLASS: "ia", Rank.ORDER: "iformes", Rank.FAMILY: "idae"}
_GENUS_ENDINGS = ("us", "a", "um", "ops", "odon", "ura", "aria")
_EPITHET_ENDINGS = ("ensis", "atus", "oides", "inus", "alis", "ifer", "icola", "escens")
_NOUN_ENDINGS = ("le", "et", "ock", "in", "by", "oo", "ig", "un")


class NameMaker:
    """A source of distinct names from one random stream."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def stem(self) -> str:
        """Return a new root such as ``dravelm`` for the names of a genus, its family and its order."""
        return self._unused(lambda: self._syllables(2) + self._pick(_CODAS))

    def scientific(self, rank: Rank, stem: str) -> str:
        """Return the name of a phylum, class, order or family from a root."""
        return f"{MARK}o{stem}{_SUFFIX[rank]}"

    def genus(self, stem: str) -> str:
        return f"{MARK}o{stem}{self._pick(_GENUS_ENDINGS)}"

    def epithet(self) -> str:
        return self._unused(lambda: self._syllables(2) + self._pick(_CODAS) + self._pick(_EPITHET_ENDINGS))

    def noun(self) -> str:
        """Return an invented word for a kind of animal, such as ``grolbet``."""
        return self._unused(lambda: self._syllables(1) + self._pick(_CODAS) + self._pick(_NOUN_ENDINGS))

    def common(self, adjectives: list[str], noun: str) -> str:
        """Return the first unused ``adjective noun``; if all are taken, one with a second noun."""
        for adjective in adjectives:
            name = f"{adjective} {noun}"
            if name not in self._taken:
                self._taken.add(name)
                return name
        return f"{adjectives[0]} {self.noun()} {noun}"

    def _syllables(self, number: int) -> str:
        return "".join(self._pick(_ONSETS) + self._pick(_VOWELS) for _ in range(number))

    def _pick(self, choices: tuple[str, ...] | list[str]) -> str:
        return choices[int(self._rng.integers(len(choices)))]

    def _unused(self, draw: Callable[[], str]) -> str:
        """Return the first drawn word that is new; after a hundred attempts words get one more syllable."""
        for attempt in count():
            word = (self._syllables(attempt // 100) if attempt >= 100 else "") + draw()
            if word not in self._taken:
                break
        self._taken.add(word)
        return word
