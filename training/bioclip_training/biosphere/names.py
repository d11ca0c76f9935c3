"""Invented Latin and common names, each scientific name above the epithet marked as fiction by how it begins."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np

from bioclip_core.taxonomy import Rank

MARK = "Fict"
"""Every name from kingdom to genus begins so, and therefore every scientific name of a species does."""

KINGDOM = "Fictanimalia"

_ONSETS = "b br c cl d dr f fl g gr h j k l m n p pr r s t tr v z".split()
_VOWELS = "a e i o u".split()
_CODAS = "l m n r s x nd rv rm st".split()
_SUFFIX = {Rank.PHYLUM: "ozoa", Rank.CLASS: "ia", Rank.ORDER: "iformes", Rank.FAMILY: "idae"}
_GENUS_ENDINGS = ("us", "a", "um", "ops", "odon", "ura", "aria")
_EPITHET_ENDINGS = ("ensis", "atus", "oides", "inus", "alis", "ifer", "icola", "escens")
_NOUN_ENDINGS = ("le", "et", "ock", "in", "by", "oo", "ig", "un")


class NameMaker:
    """Draws names that it has not drawn before, all from one random stream."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def stem(self) -> str:
        """A new root such as ``dravelm``, from which the names of a genus, its family and its order are made."""
        return self._unused(lambda: self._syllables(2) + self._pick(_CODAS))

    def scientific(self, rank: Rank, stem: str) -> str:
        """The name of a phylum, class, order or family from a root."""
        return f"{MARK}o{stem}{_SUFFIX[rank]}"

    def genus(self, stem: str) -> str:
        return f"{MARK}o{stem}{self._pick(_GENUS_ENDINGS)}"

    def epithet(self) -> str:
        return self._unused(lambda: self._syllables(2) + self._pick(_CODAS) + self._pick(_EPITHET_ENDINGS))

    def noun(self) -> str:
        """An invented word for a kind of animal, such as ``grolbet``."""
        return self._unused(lambda: self._syllables(1) + self._pick(_CODAS) + self._pick(_NOUN_ENDINGS))

    def common(self, adjectives: list[str], noun: str) -> str:
        """The first ``adjective noun`` that is still free; where all are taken, the noun gets another animal's beside it."""
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
        """The first word drawn that is new. Words get a syllable more where the short ones run out."""
        for attempt in count():
            word = (self._syllables(attempt // 100) if attempt >= 100 else "") + draw()
            if word not in self._taken:
                break
        self._taken.add(word)
        return word
