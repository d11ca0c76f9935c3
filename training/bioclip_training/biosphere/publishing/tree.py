"""A richer tree of life: three kingdoms with authors, synonyms, subspecies, hybrids, hemihomonyms, and common names in two languages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bioclip_training.biosphere import Biosphere
from bioclip_training.biosphere import Species as Drawn
from bioclip_training.biosphere.publishing.authors import Authorship, authorship, invented_authors
from bioclip_training.biosphere.publishing.vernacular import german

ANIMALIA, PLANTAE, FUNGI = "Animalia", "Plantae", "Fungi"
_SIZES = {ANIMALIA: (0.60, 5), PLANTAE: (0.27, 5), FUNGI: (0.13, 5)}
"""Share of the species, and species per family."""
_SUFFIXES = {
    ANIMALIA: ("ozoa", "ia", "iformes", "idae"),
    PLANTAE: ("ophyta", "opsida", "ales", "aceae"),
    FUNGI: ("omycota", "omycetes", "ales", "aceae"),
}
"""Endings of phylum, class, order and family."""
_HEMIHOMONYMS, _HYBRIDS, _PRO_PARTE, _UNSEEN, _ALIKE = 0.005, 0.01, 0.02, 0.05, 0.06
"""Shares: pairs of genera of the species, hybrids of the plants, names of two species, species of the unseen set, and epithets that are
alike."""


@dataclass(frozen=True, slots=True)
class Species:
    """One accepted species."""

    number: int
    higher: tuple[str, ...]
    """kingdom to genus."""
    epithet: str
    is_hybrid: bool
    authorship: Authorship
    drawn: Drawn
    english: str
    german: str
    subspecies: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    """Genus and epithet of each name that the taxonomy lists as its synonym."""
    shared: tuple[tuple[str, str], ...] = ()
    """The same of names that are synonyms of another species too."""
    is_hemihomonym: bool = False
    is_unseen: bool = False
    """True if it belongs to the unseen set, so that training must not see it."""

    @property
    def genus(self) -> str:
        return self.higher[5]

    @property
    def kingdom(self) -> str:
        return self.higher[0]

    @property
    def binomial(self) -> str:
        """The accepted name, with the mark of a hybrid."""
        return f"{self.genus} {'× ' if self.is_hybrid else ''}{self.epithet}"


@dataclass(frozen=True, slots=True)
class Tree:
    """All species, and the older names of families."""

    species: tuple[Species, ...]
    older_families: Mapping[str, str]
    """Accepted family to its synonym."""
    authors: tuple[str, ...]

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield every binomial that the taxonomy has, with the number of its species."""
        for one in self.species:
            yield f"{one.genus} {one.epithet}", one.number
            for genus, epithet in (*one.synonyms, *one.shared):
                yield f"{genus} {epithet}", one.number


def grow(seed: int, species: int = 600) -> Tree:
    """Return a tree with about that many species; equal seeds grow equal ones."""
    rng = np.random.default_rng([seed, 10])
    authors = invented_authors(np.random.default_rng([seed, 11]))
    grown: list[Species] = []
    for index, (kingdom, (share, per_family)) in enumerate(_SIZES.items()):
        number = max(4, round(species * share))
        biosphere = Biosphere.grow(seed=100 * seed + index, families=max(2, number // per_family), species=number)
        for drawn in biosphere.species:
            grown.append(_named(drawn, kingdom, len(grown), authors, rng))
    grown = _with_common_epithets(grown, rng)
    grown = _with_alike_epithets(grown, np.random.default_rng([seed, 12]))
    grown = _without_shared_common_names(grown)
    grown = _with_hemihomonyms(grown, rng)
    grown = _with_hybrids(grown, rng)
    grown = _with_other_names(grown, rng)
    grown = _with_shared_names(grown, rng)
    grown = _with_unseen(grown, rng)
    families = sorted({one.higher[4] for one in grown})
    older = {name: _older(name) for name in families if rng.random() < 0.4}
    return Tree(tuple(grown), older, authors)


def _named(drawn: Drawn, kingdom: str, number: int, authors: tuple[str, ...], rng: np.random.Generator) -> Species:
    phylum, class_, order, family, genus = drawn.taxon.lineage[1:6]
    cells = [
        name.removesuffix(own) + suffix
        for name, own, suffix in zip(
            (phylum, class_, order, family), _SUFFIXES[ANIMALIA], _SUFFIXES[kingdom], strict=True
        )
    ]
    written = authorship(authors, rng, botanical=kingdom != ANIMALIA)
    english = drawn.taxon.common_name
    return Species(
        number, (kingdom, *cells, genus), drawn.taxon.species, False, written, drawn, english, german(english)
    )  # fmt: skip


def _with_common_epithets(species: list[Species], rng: np.random.Generator) -> list[Species]:
    """Give a third of the species an epithet that other genera use too, as "vulgaris" is."""
    pool = [species[int(at)].epithet for at in rng.choice(len(species), max(3, len(species) // 20), replace=False)]
    taken = {(one.genus, one.epithet) for one in species}
    result = []
    for one in species:
        epithet = pool[int(rng.integers(len(pool)))] if rng.random() < 0.33 else one.epithet
        if (one.genus, epithet) not in taken:
            taken.add((one.genus, epithet))
            one = replace(one, epithet=epithet)
        result.append(one)
    return result


def _with_alike_epithets(species: list[Species], rng: np.random.Generator) -> list[Species]:
    """Give some species an epithet one or two letters from that of a sister, as in every large genus."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in species:
        members[one.kingdom, one.genus].append(one.number)
    result = list(species)
    for one in species:
        sisters = [number for number in members[one.kingdom, one.genus] if number != one.number]
        if not sisters or rng.random() >= _ALIKE:
            continue
        letters = list(result[sisters[int(rng.integers(len(sisters)))]].epithet)
        for at in rng.choice(np.arange(1, len(letters) - 3), 1 + int(rng.random() < 0.4), replace=False):
            letters[int(at)] = (
                "aeiou"[int(rng.integers(5))] if letters[int(at)] in "aeiou" else "lmnrst"[int(rng.integers(6))]
            )
        epithet = "".join(letters)
        if epithet not in {result[number].epithet for number in members[one.kingdom, one.genus]}:
            result[one.number] = replace(one, epithet=epithet)
    return result


def _without_shared_common_names(species: list[Species]) -> list[Species]:
    """Leave a common name to the first species that has it."""
    taken: set[str] = set()
    result = []
    for one in species:
        if one.english in taken:
            one = replace(one, english="", german="")
        taken.add(one.english)
        result.append(one)
    return result


def _with_hemihomonyms(species: list[Species], rng: np.random.Generator) -> list[Species]:
    """Rename small genera of plants after small genera of animals; the first pair shares an epithet as well."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in species:
        members[one.kingdom, one.genus].append(one.number)
    animals = sorted(key for key, numbers in members.items() if key[0] == ANIMALIA and len(numbers) <= 2)
    plants = sorted(key for key, numbers in members.items() if key[0] == PLANTAE and len(numbers) <= 2)
    pairs = min(max(1, round(_HEMIHOMONYMS * len(species))), len(animals), len(plants))
    chosen = zip(rng.permutation(len(animals))[:pairs], rng.permutation(len(plants))[:pairs], strict=True)
    result = list(species)
    for place, (animal, plant) in enumerate(chosen):
        numbers, others = members[animals[animal]], members[plants[plant]]
        for number in (*numbers, *others):
            one = result[number]
            result[number] = replace(one, higher=(*one.higher[:5], animals[animal][1]), is_hemihomonym=True)
        epithet = result[numbers[0]].epithet
        if place == 0 and epithet not in {result[number].epithet for number in others}:
            result[others[0]] = replace(result[others[0]], epithet=epithet)
    return result


def _with_hybrids(species: list[Species], rng: np.random.Generator) -> list[Species]:
    plants = [one.number for one in species if one.kingdom == PLANTAE and not one.is_hemihomonym]
    result = list(species)
    for at in rng.choice(len(plants), max(1, round(_HYBRIDS * len(plants))), replace=False):
        result[plants[int(at)]] = replace(result[plants[int(at)]], is_hybrid=True)
    return result


def _with_other_names(species: list[Species], rng: np.random.Generator) -> list[Species]:
    """Give half of the species synonyms, half of them in an older genus, and a sixth of the species subspecies."""
    taken = {(one.genus, one.epithet) for one in species}
    epithets = [one.epithet for one in species]
    result = []
    for one in species:
        synonyms: list[tuple[str, str]] = []
        for _ in range(int(rng.choice(4, p=(0.5, 0.3, 0.15, 0.05)))):
            moved = rng.random() < 0.5
            genus = _older(one.genus) if moved else one.genus
            epithet = (
                one.epithet if moved and rng.random() < 0.6 else _other(epithets[int(rng.integers(len(epithets)))])
            )
            if (genus, epithet) not in taken and not one.is_hemihomonym:
                taken.add((genus, epithet))
                synonyms.append((genus, epithet))
        below = int(rng.choice(3, p=(0.84, 0.1, 0.06)))
        subspecies = tuple(_other(epithets[int(rng.integers(len(epithets)))]) for _ in range(below))
        result.append(replace(one, synonyms=tuple(synonyms), subspecies=tuple(dict.fromkeys(subspecies))))
    return result


def _with_shared_names(species: list[Species], rng: np.random.Generator) -> list[Species]:
    """Add names that are synonyms of two species of one family (pro parte)."""
    families: dict[str, list[int]] = defaultdict(list)
    for one in species:
        if not one.is_hemihomonym and not one.is_hybrid:
            families[one.higher[4]].append(one.number)
    large = sorted(name for name, numbers in families.items() if len(numbers) >= 2)
    taken = {(genus, epithet) for one in species for genus, epithet in ((one.genus, one.epithet), *one.synonyms)}
    result = list(species)
    for _ in range(max(1, round(_PRO_PARTE * len(species)))):
        members = families[large[int(rng.integers(len(large)))]]
        first, second = (members[int(at)] for at in rng.choice(len(members), 2, replace=False))
        name = (_older(species[first].genus), _other(species[second].epithet))
        if name not in taken:
            taken.add(name)
            for number in (first, second):
                result[number] = replace(result[number], shared=(*result[number].shared, name))
    return result


def _with_unseen(species: list[Species], rng: np.random.Generator) -> list[Species]:
    """Choose the species of the unseen set, of every kingdom, without hemihomonyms and hybrids."""
    able = [one.number for one in species if not (one.is_hemihomonym or one.is_hybrid or one.shared)]
    chosen = {able[int(at)] for at in rng.choice(len(able), max(2, round(_UNSEEN * len(species))), replace=False)}
    return [replace(one, is_unseen=one.number in chosen) for one in species]


def _older(name: str) -> str:
    """Return an older name of a genus or family: the halves of its root change places."""
    root = name.removeprefix("Ficto")
    ending = next((end for end in ("idae", "aceae") if root.endswith(end)), "")
    root = root.removesuffix(ending)
    middle = len(root) // 2
    return f"Ficto{root[middle:]}o{root[:middle]}{ending or 'ella'}"


def _other(epithet: str) -> str:
    """Return another epithet, made of one by a prefix that its letters choose."""
    return ("pseudo", "sub", "neo", "para", "meso", "eury", "micro")[sum(map(ord, epithet)) % 7] + epithet
