"""Words of a run's rows by number: events, flags and reasons of failures."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from bioclip_plugin.browsing.columns import MOST_FLAGS
from bioclip_plugin.store.reasons import kind_of_reason

_MOST_FAILURES = 30_000
OTHER_FAILURES = "other reasons"


class Words:
    """Words in the order in which they were first seen."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        """Begin with known words."""
        self._words = list(words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        # Not before a word is looked up: a run has many events, and most views of it are only read.
        return {word: number for number, word in enumerate(self._words)}

    @property
    def words(self) -> tuple[str, ...]:
        """The words by number."""
        return tuple(self._words)

    def number(self, word: str | None) -> int:
        """Return the number of a word, a new one if need be; -1 for none."""
        if not word:
            return -1
        number = self._numbers.setdefault(word, len(self._words))
        if number == len(self._words):
            self._words.append(word)
        return number


class Flags(Words):
    """Flags of answers; of more than 32 different ones the others are left out and counted."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        super().__init__(words)
        self._bits: dict[str, int] = {}
        self.left_out: set[str] = set()

    def bits(self, text: str) -> int:
        """Return the bit set of flags that are separated by spaces."""
        if (known := self._bits.get(text)) is not None:
            return known
        bits = 0
        for word in text.split():
            if word in self._numbers or len(self._numbers) < MOST_FLAGS:
                bits |= 1 << self.number(word)
            else:
                self.left_out.add(word)
        self._bits[text] = bits
        return bits


class Reasons(Words):
    """Reasons of failures; those that differ only in names and numbers have the number of the first of them."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        super().__init__(words)
        self._kinds = {kind_of_reason(word): number for number, word in enumerate(self._words)}

    def number(self, word: str | None) -> int:
        """Return the number of a reason's kind."""
        if not word:
            return -1
        kind = kind_of_reason(word)
        if kind not in self._kinds:
            self._kinds[kind] = super().number(word if len(self._numbers) < _MOST_FAILURES else OTHER_FAILURES)
        return self._kinds[kind]
