"""The world that the questions are put to: a biosphere with species held out at each distance, its plates, and catalogs of them."""

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

_PLATE = (112, 84)  # pixels; more than the models of the questions see
_TRAIN, _VAL = 0, 1  # keep the random numbers of the two kinds of plates apart


@dataclass(frozen=True, slots=True)
class World:
    """A biosphere and how many plates there are of each species; equal values give equal pictures."""

    seed: int
    """Of the tree, its looks, its names and the plates; it also decides which classes lose what (:func:`held_out`)."""
    families: int = 24
    species: int = 144
    plates: int = 24
    """For training, of each species."""
    more_plates: int = 48
    """Of each species of the narrow collection in the question about diversity."""
    val_plates: int = 6
    """To measure on, of each species, seen or not."""


class Plates:
    """The plates of a world, rendered when they are first asked for and kept under the benchmarks' cache."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._species = Biosphere.grow(seed=world.seed + 20, families=world.families, species=world.species).species
        self.taxa = tuple(one.taxon for one in self._species)
        """S species in the order of the tree: the labels of every question, and what predictions count."""

    @property
    def folder(self) -> Path:
        """Of the catalogs and their plates."""
        return cache() / "questions" / f"world-{settings_id(asdict(self.world))[:12]}"

    @cached_property
    def unseen(self) -> tuple[int, ...]:
        """The species that no base model is trained on."""
        return held_out(self.taxa, self.world.seed)

    @cached_property
    def seen(self) -> tuple[int, ...]:
        return tuple(sorted(set(range(len(self.taxa))) - set(self.unseen)))

    @cached_property
    def new(self) -> tuple[int, ...]:
        """Of the unseen, those that the question about replay teaches later: every fourth."""
        return self.unseen[::4]

    def nearest_seen(self, species: int) -> Rank | None:
        """The lowest rank that a species shares with a seen one; None where they share nothing."""
        return nearest(self.taxa[species], [self.taxa[other] for other in self.seen])

    def val_catalog(self) -> Path:
        """Plates of every species, none of which is in a training catalog."""
        numbers = range(self.world.val_plates)
        return self._catalog("val", [(index, number) for index in range(len(self.taxa)) for number in numbers], _VAL)

    def train_catalog(self, name: str, species: Sequence[int], plates: int | None = None) -> Path:
        """The first ``plates`` training plates of each of these species; the first ones are the same in every catalog."""
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
            draft = file.with_suffix(f".{os.getpid()}.part")  # without the wait for the disk that replacing_file() has
            picture.image.save(draft, "JPEG", quality=92, subsampling=0)
            draft.replace(file)
        return CatalogRow(
            uri=f"plates/{name}.jpg", taxon=self.taxa[index], source="biosphere", source_id=name, group=name,
            split="val" if kind == _VAL else "train",
        )  # fmt: skip


def held_out(taxa: Sequence[Taxon], shift: int) -> tuple[int, ...]:
    """Species that no base model sees, chosen so that the nearest seen relative is of the genus, the family, the order or the class.

    The classes take turns: one loses its last order, two their last family, two the last genus of some families, two the
    last species of some genera. ``shift`` rotates who loses what, so that over several worlds no distance is one body plan.
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
    """The lowest rank down to which a lineage agrees with one of the others."""
    shared = [
        rank
        for rank in RANKS
        if any(taxon.lineage[: rank.depth + 1] == one.lineage[: rank.depth + 1] for one in others)
    ]
    return shared[-1] if shared else None


def _parts(taxa: Sequence[Taxon], members: Sequence[int], rank: Rank) -> list[list[int]]:
    """The members by their taxon at a rank, in the tree's order."""
    parts: dict[tuple[str, ...], list[int]] = {}
    for index in members:
        parts.setdefault(taxa[index].lineage[: rank.depth + 1], []).append(index)
    return list(parts.values())


def _last(parts: Sequence[Sequence[int]]) -> set[int]:
    """The last part, if others stay."""
    return set(parts[-1]) if len(parts) > 1 else set()
