"""What a source says of one organism: the cells and the written name, and the dirt that is put into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bioclip_training.biosphere.publishing.abilities import Abilities
from bioclip_training.biosphere.publishing.dirt import Dirt, Kind
from bioclip_training.biosphere.publishing.near_names import NearNames
from bioclip_training.biosphere.publishing.tree import Species, Tree


@dataclass(slots=True)
class Statement:
    """The names of one row, page or category, before a format writes them."""

    ranks: list[str]
    """kingdom to genus, as the source states them."""
    epithet: str
    """The epithet's cell."""
    binomial: str
    """The species' cell in formats that have the whole name there."""
    name: str
    """The written name, with authors and marks."""
    rank: str = "species"
    common: str = ""
    language: str = "en"
    kinds: list[str] = field(default_factory=list)
    """Kinds of dirt in it."""

    def rename(self, genus: str, epithet: str, between: str = " ") -> None:
        """Write another binomial in all cells."""
        self.ranks[5], self.epithet = genus, epithet
        self.binomial = self.name = f"{genus}{between}{epithet}"


@dataclass(frozen=True, slots=True)
class Writer:
    """The means to write statements: the tree, its names, and one random stream."""

    tree: Tree
    near: NearNames
    abilities: Abilities
    dirt: Dirt
    rng: np.random.Generator

    def choose(self, words: Sequence[str]) -> str:
        return words[int(self.rng.integers(len(words)))]

    def sister(self, species: Species) -> Species | None:
        """Return another species of the genus; None without one."""
        others = [one for one in self.tree.species if one.higher == species.higher and one.number != species.number]
        return others[int(self.rng.integers(len(others)))] if others else None

    def drawn(self, kinds: Sequence[Kind], able: Callable[[Kind], float] = lambda _: 1.0) -> Kind | None:
        """Draw at most one kind by the rates.

        Args:
            kinds: kinds of one group.
            able: factor of a kind's rate here: 0 if it is not possible, more than 1 if few species can have it.
        """
        at = self.rng.random()
        for kind in kinds:
            rate = kind.rate * able(kind)
            if at < rate:
                return kind
            at -= rate
        return None


def clean(species: Species) -> Statement:
    """Return the statement of a source without any dirt: no authors, the accepted lineage."""
    epithet = f"× {species.epithet}" if species.is_hybrid else species.epithet
    name = f"{species.genus} {epithet}"
    return Statement(list(species.higher), epithet, name, name, common=species.english)
