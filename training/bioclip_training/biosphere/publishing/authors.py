"""Invented authors of names, and how zoologists and botanists write them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BEGINNINGS = "Brenk Dorv Eld Fries Grolm Hask Iver Kneb Krüd Lodd Mörn Nesk Orl Péra Quill Rosk Söll Tesk Ulm Värn Wesk Zimb".split()
_ENDINGS = ("mann", "an", "ius", "berg", "sen", "é", "ley", "ova")


@dataclass(frozen=True, slots=True)
class Authorship:
    """Authors and year of a name."""

    authors: tuple[str, ...]
    year: int
    is_recombined: bool
    """True if the species was described in another genus, so that its authors stand in brackets."""
    botanical: bool
    second: str
    """The author of the combination, or the validating one after "ex"; botanists write both."""

    def written(self) -> str:
        """Return it as the taxonomy writes it."""
        names = _joined(self.authors)
        if not self.botanical:
            return f"({names}, {self.year})" if self.is_recombined else f"{names}, {self.year}"
        short = " & ".join(abbreviated(name) for name in self.authors)
        return f"({short}) {abbreviated(self.second)}" if self.is_recombined else short

    def with_ex(self) -> str:
        return f"{abbreviated(self.authors[0])} ex {abbreviated(self.second)}"

    def with_many(self, authors: tuple[str, ...], *, shortened: bool) -> str:
        """Return it with further authors, or with "et al." in their place."""
        first = self.authors[0]
        names = f"{first} et al." if shortened else _joined((first, *authors))
        return f"{names}, {self.year}"


def invented_authors(rng: np.random.Generator, number: int = 60) -> tuple[str, ...]:
    """Return distinct names of authors, some with letters beyond ASCII."""
    names = [beginning + ending for beginning in _BEGINNINGS for ending in _ENDINGS]
    return tuple(names[int(at)] for at in rng.permutation(len(names))[:number])


def authorship(authors: tuple[str, ...], rng: np.random.Generator, *, botanical: bool) -> Authorship:
    """Draw authors and year of a species; one in four is recombined."""
    first, second, third = (authors[int(at)] for at in rng.choice(len(authors), 3, replace=False))
    both = (first, second) if rng.random() < 0.2 else (first,)
    return Authorship(both, int(rng.integers(1758, 2016)), bool(rng.random() < 0.25), botanical, third)


def abbreviated(author: str) -> str:
    """Return an author as botanists write one: "Krüdm."."""
    return f"{author[:5]}." if len(author) > 6 else author


def _joined(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} & {names[-1]}"
