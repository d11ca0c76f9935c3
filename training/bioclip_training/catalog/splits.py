"""Split of each row: the source's own word, or a hash of its group; whole species may be held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.files.camera_folders import is_camera_folder
from bioclip_core.files.drives import relative
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.catalog.duplicates import Joined
from bioclip_training.catalog.naming.labelling import first_cell
from bioclip_training.catalog.options import FOLDER
from bioclip_training.catalog.rows import LabelledItem, hashed_share, held_out

TRAIN, VAL, UNSEEN = "train", "val", "unseen"
_SAME_WORDS = {
    "training": TRAIN, "validation": VAL, "valid": VAL, "validate": VAL, "testing": "test", "development": "dev",
}  # fmt: skip
GROUP_COLUMNS = (
    "group", "organismid", "individualid", "individual", "specimenid", "sequenceid", "sequence", "eventid", "event", "burst",
    "occurrenceid", "catalognumber", "deploymentid", "deployment",
)  # fmt: skip
"""Columns that say which images belong together, by their plain names: a row's group is its first value in them. A table's own
``image`` column is not among them."""


def split_word(cell: object) -> str:
    """Return a table's own word for a split in lower case, with our words for the usual synonyms."""
    word = str(cell).strip().lower() if cell is not None and cell == cell else ""
    return _SAME_WORDS.get(word, word)


def group_of(columns: Sequence[str], cells: Mapping[str, Any], item: LabelledItem, root: Path | None) -> str:
    """Return the name of a row's group; empty if unknown, so that its image stands alone.

    Args:
        root: the source's folder, so that a group has the same name wherever the collection lies.
    """
    if columns[0] == FOLDER:
        folder = Path(item.path or item.uri).parent
        parts = PurePath((relative(folder, root) if root else None) or folder).parts
        return f"folder {PurePath(*(part for part in parts if not is_camera_folder(part))).as_posix()}"
    return first_cell(cells, columns)


def is_training(word: str) -> bool:
    """Return True if a split is trained on: ``train`` or a source's own part of it (``train_small``)."""
    return word.split("_", maxsplit=1)[0] == TRAIN


@dataclass(frozen=True, slots=True)
class Sides:
    """Split and group of every row, and how they came about."""

    split_of_N: NDArray[np.int64]
    """Places in ``words``."""
    words: tuple[str, ...]
    group_of_N: NDArray[np.int64]
    """Places in the ledger's groups: groups that share a duplicate are one."""
    drawn: int
    """Rows with a drawn split, since their source gave none."""
    held_species: tuple[Taxon, ...]
    """Kept out of training altogether."""
    moved_to_held_out: int
    """Rows of training whose group another source holds out, moved there."""
    moved_to_val: int
    """Rows of training that were in one group with a held-out species."""


def joined_groups(names: Sequence[str], joined: Joined, stated: Sequence[int]) -> NDArray[np.int64]:
    """Return the group that each one is part of: of joined groups the first in alphabetical order.

    Args:
        stated: groups of tables and folders, whose names come first, so that a review does not change the draw of its image.
    """
    root_of_G = joined.roots()
    named = np.arange(len(names))
    for groups in (range(len(names)), stated):
        for group in sorted(groups, key=names.__getitem__, reverse=True):  # the first name is written last
            named[root_of_G[group]] = group
    return np.asarray(named[root_of_G])


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
    held_out_groups: Mapping[str, str] | None = None,
) -> Sides:
    """Draw the splits that no source gave, and hold species out.

    A group with a given split follows it; a group on several sides follows one that is not trained on.

    Args:
        split_of_N: places in ``words``; 0, the empty word, for a row without a split of its own.
        val: share of the groups.
        held_species: from :func:`chosen_species`.
        held_out_groups: groups of which no row is trained on, with the split to which those go.
    """
    all_words = [*words, *(word for word in (TRAIN, VAL, UNSEEN) if word not in words)]
    train, val_word, unseen = (all_words.index(word) for word in (TRAIN, VAL, UNSEEN))
    is_training_W = np.array([is_training(word) for word in all_words])
    split, clashing = split_of_N.copy(), held_out_groups or {}
    words_G = np.array(
        [all_words.index(clashing[group]) if group in clashing else -1 for group in groups], dtype=np.int64
    )
    moved = (
        np.flatnonzero((words_G[group_of_N] >= 0) & is_training_W[split]) if clashing else np.zeros(0, dtype=np.int64)
    )
    split[moved] = words_G[group_of_N[moved]]
    drawn = np.flatnonzero(split == 0)
    side_of = _given_sides(split, group_of_N, is_training_W) if len(drawn) else {}
    is_val = held_out(VAL, [groups[group] for group in group_of_N[drawn].tolist()], taxon_of_N[drawn], val)
    split[drawn] = np.where(is_val, val_word, train)
    for row in drawn.tolist() if side_of else ():
        split[row] = side_of.get(int(group_of_N[row]), int(split[row]))
    held = {taxon.lineage for taxon in held_species}
    held_N = np.array([taxon.lineage in held for taxon in taxa], dtype=bool)[taxon_of_N]
    split[held_N] = unseen
    beside_N = is_training_W[split] & np.isin(group_of_N, np.unique(group_of_N[held_N]))
    split[beside_N] = val_word
    return Sides(
        split, tuple(all_words), group_of_N, len(drawn), tuple(held_species), len(moved), int(beside_N.sum())
    )  # fmt: skip


def _given_sides(
    split_of_N: NDArray[np.int64], group_of_N: NDArray[np.int64], is_training_W: NDArray[np.bool_]
) -> dict[int, int]:
    """Return the given split of each group that has one; of several splits one that is not trained on."""
    given = np.flatnonzero(split_of_N)
    sides: dict[int, int] = {}
    for group, split in zip(group_of_N[given].tolist(), split_of_N[given].tolist(), strict=True):
        if is_training_W[sides.setdefault(group, split)] and not is_training_W[split]:
            sides[group] = split
    return sides


def chosen_species(taxa: Sequence[Taxon], share: float, names: Sequence[str]) -> list[Taxon]:
    """Return the species to hold out: those with a hash of the lineage below ``share``, and those that a name means.

    A name is a species, or a higher taxon, which means every species in it.

    Raises:
        DataError: with the names that are not in the collection, or if no species would be left to train on.
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
        raise DataError(
            f"--holdout-taxa: {len(missing)} of {len(wanted)} names are not a species of this collection, nor a taxon with one in it "
            f"({', '.join(missing[:5])}); write them as in `catalog show --taxa`"
        )
    if chosen and len(chosen) == len(species):
        raise DataError(
            f"--holdout-taxa: all {len(species)} species would be held out, which leaves none to train on; hold out fewer"
        )
    return chosen
