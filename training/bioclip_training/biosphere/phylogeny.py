"""The synthetic tree of life: a phylogeny of seven ranks, grown from a seed, whose species inherit their looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.biosphere import traits as looks
from bioclip_training.biosphere.names import KINGDOM, NameMaker
from bioclip_training.biosphere.traits import PLANS, Traits

_ORDINALS = ("mask", "rump", "sock", "vest")


@dataclass(frozen=True, slots=True)
class Species:
    """One species: its names and its looks."""

    taxon: Taxon
    traits: Traits


@dataclass(frozen=True, slots=True)
class Biosphere:
    """A fictional kingdom; equal seeds and sizes grow equal ones."""

    seed: int
    species: tuple[Species, ...]

    @property
    def taxa(self) -> tuple[Taxon, ...]:
        """Lineages and common names of the species, in the order of the tree."""
        return tuple(species.taxon for species in self.species)

    @classmethod
    def grow(cls, *, seed: int = 2, families: int = 24, species: int = 72) -> Biosphere:
        """Return a biosphere with that many families and species, in the tree's order.

        About four families make a class, two an order; up to three species make a genus.

        Raises:
            UsageError: for fewer than one family, or fewer species than families.
        """
        if families < 1 or species < families:
            raise UsageError(
                f"a biosphere of {families} families and {species} species: at least one family, and a species for each, are needed"
            )
        return cls(seed, tuple(_Grower(seed, families, species).grown()))


class _Grower:
    """The walk down the ranks, with one random stream for names and one for looks, so that they are independent."""

    def __init__(self, seed: int, families: int, species: int) -> None:
        self.names = NameMaker(np.random.default_rng([seed, 1]))
        self.rng = np.random.default_rng([seed, 2])
        self.families = families
        self.sizes = iter(_shares(species, families))

    def grown(self) -> Iterator[Species]:
        number = max(1, min(self.families, max(2, round(self.families / 4))))
        phylum = ""
        for index, size in enumerate(_shares(self.families, number)):
            if index % 2 == 0:
                phylum = self.names.scientific(Rank.PHYLUM, self.names.stem())
            lineage = Taxon(KINGDOM, phylum, self.names.scientific(Rank.CLASS, self.names.stem()))
            hue = index / number + float(self.rng.uniform(0, 0.1))
            yield from self._class(lineage, looks.founder(PLANS[index % len(PLANS)], hue, self.rng), size)

    def _class(self, lineage: Taxon, ancestor: Traits, families: int) -> Iterator[Species]:
        index = 0
        for size in _shares(families, max(1, -(-families // 2))):
            stems = [self.names.stem() for _ in range(size)]
            order = self.names.scientific(Rank.ORDER, stems[0])
            common_ancestor = ancestor.drifted(Rank.ORDER, self.rng)
            for stem in stems:
                # The hues of a class share the circle, so that the families of an order are neighbours on it.
                hue = ancestor.hue + index / families
                family = Taxon(KINGDOM, lineage.phylum, lineage.class_, order, self.names.scientific(Rank.FAMILY, stem))
                yield from self._family(family, stem, looks.family_traits(common_ancestor, index, hue, self.rng))
                index += 1

    def _family(self, family: Taxon, stem: str, ancestor: Traits) -> Iterator[Species]:
        size = next(self.sizes)
        genera = 1 if size == 1 else max(int(self.rng.integers(1, 3)), -(-size // 3))
        offset = int(self.rng.integers(len(looks.PATTERNS)))
        for index, members in enumerate(_shares(size, genera)):
            genus = self.names.genus(stem if index == 0 else self.names.stem())
            noun = self.names.noun()
            parent = looks.genus_traits(ancestor, index, offset, self.rng)
            first = int(self.rng.integers(len(looks.ACCENTS)))
            for member in range(members):
                traits = looks.species_traits(parent, member, first, self.rng)
                # As in real collections, some species (one in eight) have no common name.
                common = self.names.common(_adjectives(traits), noun) if self.rng.random() >= 1 / 8 else ""
                taxon = Taxon(*family.lineage[:5], genus=genus, species=self.names.epithet(), common_name=common)
                yield Species(taxon, traits)


def _adjectives(traits: Traits) -> list[str]:
    """Return words for visible traits, the most distinctive first."""
    pattern = {"bars": "barred", "spots": "spotted", "stripes": "striped", "saddle": "saddled", "rings": "ringed",
               "halves": "half-cloaked", "net": "netted", "chevrons": "arrowed"}[traits.pattern]  # fmt: skip
    accent = {"head": "headed", "tail": "tailed", "leg": "legged", "belly": "bellied"}.get(traits.accent)
    by_accent = [f"{traits.tone}-{accent}"] if accent else []
    return [*by_accent, f"{traits.tone} {pattern}", *(f"{pattern} {extra}" for extra in _ORDINALS)]


def _shares(total: int, parts: int) -> list[int]:
    """Split ``total`` into ``parts`` whole numbers that differ by at most one, the larger first."""
    return [total // parts + (index < total % parts) for index in range(parts)]
