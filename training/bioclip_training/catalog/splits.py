"""Which side of a split each row stands on: the source's own word, or a hash of its group; whole species may be held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.catalog.duplicates import Joined
from bioclip_training.catalog.rows import hashed_share, held_out

TRAIN, VAL, UNSEEN = "train", "val", "unseen"
_SAME_WORDS = {
    "training": TRAIN, "validation": VAL, "valid": VAL, "validate": VAL, "testing": "test", "development": "dev",
}  # fmt: skip
GROUP_COLUMNS = (
    "group", "organismid", "individualid", "individual", "specimenid", "sequenceid", "sequence", "eventid", "event", "burst",
    "occurrenceid", "catalognumber", "deploymentid", "deployment",
)  # fmt: skip
"""Columns that say which images belong together: a row's group is in the first that it has a value in (names as plain cells have
them). A table's own ``image`` column is none of them."""


def split_word(cell: object) -> str:
    """A table's own word for a split, in small letters, with the usual other words for ours."""
    word = str(cell).strip().lower() if cell is not None and cell == cell else ""
    return _SAME_WORDS.get(word, word)


def is_training(word: str) -> bool:
    """Whether a split is trained on: ``train`` and a source's own parts of it (``train_small``)."""
    return word.split("_", maxsplit=1)[0] == TRAIN


@dataclass(frozen=True, slots=True)
class Sides:
    """The split and the group of every row, and what had to be done to it."""

    split_of_N: NDArray[np.int64]
    """Places in ``words``."""
    words: tuple[str, ...]
    group_of_N: NDArray[np.int64]
    """Places in the ledger's groups: groups that share a duplicate are one."""
    drawn: int
    """Rows whose split was drawn, since their source gave none."""
    held_species: tuple[Taxon, ...]
    """Kept out of training altogether."""
    moved_to_val: int
    """Rows of training that stood in one group with a held-out species."""


def joined_groups(group_of_N: NDArray[np.int64], names: Sequence[str], joined: Joined) -> NDArray[np.int64]:
    """For each row its group, where joined ones bear the first of their names in alphabetical order."""
    root_of_G = joined.roots()
    order = sorted(range(len(names)), key=names.__getitem__, reverse=True)
    named = np.arange(len(names))
    for group in order:  # the alphabetically first is written last
        named[root_of_G[group]] = group
    return np.asarray(named[root_of_G[group_of_N]])


def assign(
    split_of_N: NDArray[np.int64],
    words: Sequence[str],
    group_of_N: NDArray[np.int64],
    groups: Sequence[str],
    taxon_of_N: NDArray[np.int64],
    taxa: Sequence[Taxon],
    *,
    val: float,
    held_species: Sequence[Taxon],
) -> Sides:
    """Draw what no source gave, and hold species out.

    A group of which some rows have a source's word follows it; one on several sides follows the one that is not trained on.

    Args:
        split_of_N: places in ``words``; 0, the empty word, where the source gave none.
        val: share of the groups.
        held_species: as :func:`chosen_species` gives them.
    """
    all_words = [*words, *(word for word in (TRAIN, VAL, UNSEEN) if word not in words)]
    train, val_word, unseen = (all_words.index(word) for word in (TRAIN, VAL, UNSEEN))
    split = split_of_N.copy()
    drawn = np.flatnonzero(split == 0)
    side_of = _given_sides(split, group_of_N, [is_training(word) for word in all_words])
    names = [groups[group] for group in group_of_N[drawn].tolist()]
    is_val = held_out(VAL, names, taxon_of_N[drawn], val) if len(drawn) else np.zeros(0, dtype=bool)
    split[drawn] = np.where(is_val, val_word, train)
    for row in drawn.tolist() if side_of else ():
        split[row] = side_of.get(int(group_of_N[row]), int(split[row]))
    held = {taxon.lineage for taxon in held_species}
    is_held_T = np.array([taxon.lineage in held for taxon in taxa], dtype=bool)
    moved = 0
    if is_held_T.any():
        rows = is_held_T[taxon_of_N]
        split[rows] = unseen
        training = np.array([is_training(word) for word in all_words])[split]
        beside = training & np.isin(group_of_N, np.unique(group_of_N[rows]))
        split[beside] = val_word
        moved = int(beside.sum())
    return Sides(split, tuple(all_words), group_of_N, len(drawn), tuple(held_species), moved)


def _given_sides(
    split_of_N: NDArray[np.int64], group_of_N: NDArray[np.int64], trained_on: list[bool]
) -> dict[int, int]:
    """For each group with a given split that split; where it has several, one that is not trained on."""
    given = np.flatnonzero(split_of_N)
    if len(given) == len(split_of_N):
        return {}
    sides: dict[int, int] = {}
    for group, split in zip(group_of_N[given].tolist(), split_of_N[given].tolist(), strict=True):
        known = sides.setdefault(group, split)
        if trained_on[known] and not trained_on[split]:
            sides[group] = split
    return sides


def chosen_species(taxa: Sequence[Taxon], share: float, names: Sequence[str]) -> list[Taxon]:
    """The species to hold out: those whose lineage's hash falls below ``share``, and those that a name means.

    A name is a species or a higher taxon, which means every species in it.

    Raises:
        UsageError: naming what is not in the collection, and if no species would be left to train on.
    """
    species = sorted((taxon for taxon in taxa if taxon.rank is Rank.SPECIES), key=lambda taxon: taxon.lineage)
    wanted = {" ".join(name.split()).lower() for name in names}
    found: set[str] = set()
    chosen = []
    for taxon in species:
        own = {taxon.name_at(rank).lower() for rank in RANKS} & wanted
        found |= own
        if own or hashed_share(f"{UNSEEN} " + "|".join(taxon.lineage)) < share:
            chosen.append(taxon)
    if missing := sorted(wanted - found):
        raise UsageError(
            f"--holdout-taxa: {len(missing)} of {len(wanted)} names are no species of this collection and no taxon that has one in it "
            f"({', '.join(missing[:5])}); write them as `catalog show --taxa` does"
        )
    if chosen and len(chosen) == len(species):
        raise UsageError(
            f"--holdout-taxa: all {len(species)} species would be held out and none be left to train on; hold out fewer"
        )
    return chosen
