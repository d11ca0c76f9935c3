"""Worlds for the questions: a biosphere with species held out at each distance, its plates, and catalogs of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.fixtures import cache
from bioclip_core.files.whole import replacing_file
from bioclip_core.identity import settings_id
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_training.biosphere import Biosphere, plate
from bioclip_training.catalog.rows import CatalogRow, table_from

_PLATE = (112, 84)  # pixels; larger than the input of the models
_TRAIN, _VAL = 0, 1  # part of the random seed, so that the two kinds of plates differ


@dataclass(frozen=True, slots=True)
class World:
    """A biosphere and the number of plates per species. Equal values give equal pictures."""

    seed: int
    """Seed of the tree, its looks, its names and the plates; it also decides which classes lose species (:func:`held_out`)."""
    families: int = 24
    species: int = 144
    plates: int = 24
    """Training plates per species."""
    more_plates: int = 48
    """Training plates per species of the narrow collection in the question about diversity."""
    val_plates: int = 6
    """Plates per species, seen or unseen, for measuring."""


class Plates:
    """Plates of a world, rendered on first use and kept in the cache of the benchmarks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._species = Biosphere.grow(seed=world.seed + 20, families=world.families, species=world.species).species
        self.taxa = tuple(one.taxon for one in self._species)
        """S species in the order of the tree: the labels of every question, to which answers are indices."""

    @property
    def folder(self) -> Path:
        """Folder of the catalogs and their plates."""
        return cache() / "questions" / f"world-{settings_id(asdict(self.world))[:12]}"

    @cached_property
    def unseen(self) -> tuple[int, ...]:
        """Species that are held out from every base model."""
        return held_out(self.taxa, self.world.seed)

    @cached_property
    def seen(self) -> tuple[int, ...]:
        return tuple(sorted(set(range(len(self.taxa))) - set(self.unseen)))

    @cached_property
    def new(self) -> tuple[int, ...]:
        """Every fourth unseen species, which the question about replay teaches later."""
        return self.unseen[::4]

    def nearest_seen(self, species: int) -> Rank | None:
        """Return the lowest rank that a species shares with a seen one; None if they share none."""
        return nearest(self.taxa[species], [self.taxa[other] for other in self.seen])

    def val_catalog(self) -> Path:
        """Return the catalog with plates of every species; none of these plates is in a training catalog."""
        numbers = range(self.world.val_plates)
        return self._catalog("val", [(index, number) for index in range(len(self.taxa)) for number in numbers], _VAL)

    def train_catalog(self, name: str, species: Sequence[int], plates: int | None = None) -> Path:
        """Return the catalog with the first ``plates`` training plates of each species. The first plates are the same in every catalog."""
        count = plates or self.world.plates
        named = f"{name}-{len(species)}x{count}"
        return self._catalog(named, [(index, number) for index in species for number in range(count)], _TRAIN)

    def _catalog(self, name: str, wanted: Sequence[tuple[int, int]], kind: int) -> Path:
        from pyarrow import parquet

        file = self.folder / f"{name}.parquet"
        if not file.is_file():
            rows = [self._row(index, number, kind) for index, number in wanted]
            with replacing_file(file) as draft:
                parquet.write_table(table_from(rows), draft)
        return file

    def _row(self, index: int, number: int, kind: int) -> CatalogRow:
        name = f"{'val' if kind == _VAL else 'train'}-{index:04d}-{number:03d}"
        file = self.folder / "plates" / f"{name}.jpg"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = plate(self._species[index], np.random.default_rng([self.world.seed, kind, index, number]), _PLATE)
            draft = file.with_suffix(f".{os.getpid()}.part")  # not replacing_file(), which waits for the disk
            picture.image.save(draft, "JPEG", quality=92, subsampling=0)
            draft.replace(file)
        return CatalogRow(
            uri=f"plates/{name}.jpg", taxon=self.taxa[index], source="biosphere", source_id=name, group=name,
            split="val" if kind == _VAL else "train",
        )  # fmt: skip


def held_out(taxa: Sequence[Taxon], shift: int) -> tuple[int, ...]:
    """Choose the held-out species so that the nearest seen relative shares the genus, the family, the order or the class.

    The classes take turns: one loses its last order, two their last family, two the last genus of some families, two the
    last species of some genera. ``shift`` rotates these roles among the classes, so that over several worlds a distance is
    not tied to one body plan.
    """
    lost: set[int] = set()
    for position, members in enumerate(_parts(taxa, range(len(taxa)), Rank.CLASS)):
        role = (position + shift) % 6
        orders = _parts(taxa, members, Rank.ORDER)
        if role == 0:
            lost |= _last(orders)
        elif role in (1, 2):
            lost |= _last(_parts(taxa, orders[-1], Rank.FAMILY))
        families = [family for order in orders for family in _parts(taxa, order, Rank.FAMILY)]
        for number, family in enumerate(families if role in (3, 4, 5) else ()):
            genera = _parts(taxa, family, Rank.GENUS)
            if role == 3 or (role == 4 and number % 2 == 0):
                lost |= _last(genera) if number % 2 == 0 else set()
            else:
                lost = lost.union(*(_last(_parts(taxa, genus, Rank.SPECIES)) for genus in genera))
    return tuple(sorted(lost))


def nearest(taxon: Taxon, others: Sequence[Taxon]) -> Rank | None:
    """Return the lowest rank down to which a lineage agrees with one of the others, or None."""
    shared = [
        rank
        for rank in RANKS
        if any(taxon.lineage[: rank.depth + 1] == one.lineage[: rank.depth + 1] for one in others)
    ]
    return shared[-1] if shared else None


def _parts(taxa: Sequence[Taxon], members: Sequence[int], rank: Rank) -> list[list[int]]:
    """Group the members by their taxon at a rank, in the order of the tree."""
    parts: dict[tuple[str, ...], list[int]] = {}
    for index in members:
        parts.setdefault(taxa[index].lineage[: rank.depth + 1], []).append(index)
    return list(parts.values())


def _last(parts: Sequence[Sequence[int]]) -> set[int]:
    """Return the last part, or the empty set if it is the only one."""
    return set(parts[-1]) if len(parts) > 1 else set()
