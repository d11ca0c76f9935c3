"""Which species can have a kind of dirt at all, so that the rates hold over all of them."""

from __future__ import annotations

from collections.abc import Callable

from bioclip_training.biosphere.publishing.tree import ANIMALIA, FUNGI, Species, Tree

_Able = Callable[[Tree, Species], bool]

_ABLE: dict[str, _Able] = {
    "authorship_ex": lambda _, one: one.kingdom != ANIMALIA,
    "authorship_et_al": lambda _, one: one.kingdom == ANIMALIA,
    "subgenus": lambda _, one: one.kingdom == ANIMALIA,
    "hybrid_formula": lambda _, one: one.kingdom != ANIMALIA,
    "synonym": lambda _, one: bool(one.synonyms),
    "synonym_of_two": lambda _, one: bool(one.shared),
    "misspelt_ending": lambda _, one: one.epithet.endswith(("ensis", "atus", "inus", "alis")),
    "common_name_in_place": lambda _, one: bool(one.english),
    "category_common_name": lambda _, one: bool(one.english),
    "kingdom_words": lambda _, one: one.kingdom != FUNGI,
    "older_family": lambda tree, one: one.higher[4] in tree.older_families,
    "no_ranks": lambda _, one: not one.is_hemihomonym,
}
"""Kinds that not every species can have."""


class Abilities:
    """The factors of a tree's rates."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._shares = {
            kind: sum(able(tree, one) for one in tree.species) / len(tree.species) for kind, able in _ABLE.items()
        }

    def factor(self, kind: str, species: Species) -> float:
        """Return the factor of a kind's rate for one species: 0, or the inverse share of the species that can have it."""
        if kind not in _ABLE:
            return 1.0
        return 1.0 / self._shares[kind] if _ABLE[kind](self._tree, species) else 0.0
