"""Dirt in the columns of ranks and of common names. One function per kind, by the name of the kind."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.name_dirt import Change
from bioclip_training.biosphere.publishing.statements import Statement, Writer
from bioclip_training.biosphere.publishing.tree import ANIMALIA, FUNGI, Species

_NULLS = ("NA", "N/A", "None", "null", "unknown", "not_classified", "unidentified", "incertae sedis")
_PLANTS = ("Viridiplantae", "Archaeplastida", "Chloroplastida")
_BETWEEN = (1, 2, 3, 4)
"""Places of phylum, class, order and family."""


def _missing(writer: Writer, species: Species, said: Statement) -> bool:
    for at in writer.rng.choice(_BETWEEN, int(writer.rng.integers(1, 4)), replace=False):
        said.ranks[int(at)] = ""
    return True


def _no_ranks(writer: Writer, species: Species, said: Statement) -> bool:
    if species.is_hemihomonym:
        return False
    said.ranks[:5] = [""] * 5
    return True


def _null_words(writer: Writer, species: Species, said: Statement) -> bool:
    word = writer.choose(_NULLS)
    for at in writer.rng.choice(_BETWEEN, int(writer.rng.integers(1, 3)), replace=False):
        said.ranks[int(at)] = word
    return True


def _kingdom_words(writer: Writer, species: Species, said: Statement) -> bool:
    if species.kingdom == FUNGI:
        return False
    said.ranks[0] = "Metazoa" if species.kingdom == ANIMALIA else writer.choose(_PLANTS)
    return True


def _wrong_rank(writer: Writer, species: Species, said: Statement) -> bool:
    at = _BETWEEN[int(writer.rng.integers(len(_BETWEEN)))]
    others = sorted(
        {one.higher[at] for one in writer.tree.species if one.kingdom == species.kingdom} - {species.higher[at]}
    )
    if not others:
        return False
    said.ranks[at] = writer.choose(others)
    return True


def _older_family(writer: Writer, species: Species, said: Statement) -> bool:
    older = writer.tree.older_families.get(species.higher[4])
    if older is None:
        return False
    said.ranks[4] = older
    return True


def _case_of_ranks(writer: Writer, species: Species, said: Statement) -> bool:
    upper = writer.rng.random() < 0.5
    said.ranks[:5] = [cell.upper() if upper else cell.lower() for cell in said.ranks[:5]]
    return True


def _genus_prefix(writer: Writer, species: Species, said: Statement) -> bool:
    if not said.epithet or species.is_hybrid or said.epithet.startswith(("sp", "cf", "aff", "indet")):
        return False
    said.epithet = f"{said.ranks[5]} {said.epithet}"
    return True


def _genus_empty(writer: Writer, species: Species, said: Statement) -> bool:
    if not said.name.startswith(said.ranks[5]):
        return False
    said.ranks[5] = ""
    return True


def _abbreviated(writer: Writer, species: Species, said: Statement) -> bool:
    if not said.ranks[5] or not said.name.startswith(f"{said.ranks[5]} "):
        return False
    said.name = f"{said.ranks[5][0]}. {said.name.removeprefix(said.ranks[5]).strip()}"
    return True


def _species_missing(writer: Writer, species: Species, said: Statement) -> bool:
    said.rename(species.genus, "")
    said.name, said.binomial, said.rank = species.genus, "", "genus"
    return True


def _not_classified(writer: Writer, species: Species, said: Statement) -> bool:
    word = writer.choose(("not_classified", ""))
    said.ranks[5] = said.binomial = said.epithet = said.name = word
    said.rank = "family"
    return True


def _other_language(writer: Writer, species: Species, said: Statement) -> bool:
    if not species.german:
        return False
    said.common, said.language = species.german, "de"
    return True


def _case_of_common(writer: Writer, species: Species, said: Statement) -> bool:
    if not said.common:
        return False
    said.common = said.common.upper() if writer.rng.random() < 0.15 else said.common.title()
    return True


CELLS: dict[str, Change] = {
    "missing_ranks": _missing,
    "no_ranks": _no_ranks,
    "null_words": _null_words,
    "kingdom_words": _kingdom_words,
    "wrong_rank": _wrong_rank,
    "older_family": _older_family,
    "shifted_case_of_ranks": _case_of_ranks,
    "genus_prefix": _genus_prefix,
    "genus_cell_empty": _genus_empty,
    "genus_abbreviated": _abbreviated,
    "species_missing": _species_missing,
    "not_classified": _not_classified,
}
HIDING = ("species_missing", "not_classified")
"""Kinds that leave no name to be dirty."""
COMMON: dict[str, Change] = {"common_other_language": _other_language, "common_case": _case_of_common}
