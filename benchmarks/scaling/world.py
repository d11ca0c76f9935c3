"""Collections of the scaling study: nested random subsets of one long-tailed pool, and the held-out plates of every species."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache as remembered
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.fixtures import cache
from benchmarks.questions.world import held_out
from bioclip_core.files.whole import replacing_file, replacing_folder
from bioclip_core.identity import settings_id
from bioclip_training.biosphere import Biosphere, plate
from bioclip_training.biosphere.traits import PROPORTIONS
from bioclip_training.catalog.rows import CatalogRow, table_from

_PLATE = (112, 84)  # pixels; larger than the input of the models
_TRAIN, _HELD_OUT = 0, 1  # part of the random seed, so that the two kinds of plates differ
_FEW = 40  # species that are rendered sooner than a process starts
_TREE, _SUBSET = 20, 7  # other parts of the random seed
_ABOUT = "about.csv"


@dataclass(frozen=True, slots=True)
class Pool:
    """A biosphere, its long-tailed pool of training plates, and the sizes of the subsets. Equal values give equal pictures."""

    seed: int
    """Seed of the tree, its looks, the plates, the subsets, and of which species are held out."""
    families: int = 60
    species: int = 480
    sizes: tuple[int, ...] = (480, 1_440, 4_800, 15_360)
    """Training images of each subset: the largest is 32 times the smallest. Each holds those before it."""
    tail: float = 1.0
    """Exponent of the frequency of species by their place in a random order: 0 is even, 1 is Zipf's law."""
    plates: int = 16
    """Held-out plates of each species, trained on or not, for measuring."""


class Plates:
    """Plates of a pool, rendered on first use by a pool of processes and kept in the cache of the benchmarks."""

    def __init__(self, pool: Pool, processes: int = 2) -> None:
        self.pool = pool
        self._processes = processes
        self.species = _grown(pool).species
        self.taxa = tuple(one.taxon for one in self.species)
        """S species in the order of the tree."""

    @cached_property
    def folder(self) -> Path:
        return cache() / "scaling" / f"pool-{settings_id(asdict(self.pool))[:12]}"

    @cached_property
    def unseen(self) -> tuple[int, ...]:
        """Species that are in no subset, at each distance from those that are (:func:`benchmarks.questions.world.held_out`)."""
        return held_out(self.taxa, self.pool.seed)

    @cached_property
    def drawn_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Species of each image of the largest subset, in the order in which the subsets take them."""
        rng = np.random.default_rng([self.pool.seed, _SUBSET])
        seen = rng.permutation(sorted(set(range(len(self.taxa))) - set(self.unseen)))
        share = 1.0 / np.arange(1, len(seen) + 1) ** self.pool.tail
        return np.asarray(rng.choice(seen, size=self.pool.sizes[-1], p=share / share.sum()))

    def covered(self, size: int) -> tuple[int, ...]:
        """Return the species that a subset holds."""
        return tuple(sorted(set(self.drawn_N[:size].tolist())))

    def training(self, size: int) -> Path:
        """Return the catalog of the first ``size`` images of the pool."""
        counts: dict[int, int] = {}
        wanted = []
        for species in self.drawn_N[:size].tolist():
            counts[species] = counts.get(species, -1) + 1
            wanted.append((species, counts[species]))
        return self._catalog(f"train-{size}", wanted, _TRAIN)

    def measured(self) -> Path:
        """Return the catalog of the held-out plates, ``plates`` of each species."""
        wanted = [(species, number) for species in range(len(self.taxa)) for number in range(self.pool.plates)]
        return self._catalog("measured", wanted, _HELD_OUT)

    def about(self) -> Mapping[str, NDArray[np.str_]]:
        """Return life stage and sex of each measured plate, in the order of the catalog."""
        self.measured()
        with (self.folder / _ABOUT).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: np.array([row[name] for row in rows]) for name in ("lifeStage", "sex")}

    def traits(self) -> Mapping[str, NDArray[np.float64]]:
        """Return the numeric traits of each species: proportions of the body, and the lightness of the coat."""
        looks = [one.traits for one in self.species]
        return {
            **{name: np.array([one.proportion(name) for one in looks]) for name in PROPORTIONS},
            "lightness": np.array([one.lightness for one in looks]),
        }

    def _catalog(self, name: str, wanted: list[tuple[int, int]], kind: int) -> Path:
        from pyarrow import parquet

        file = self.folder / f"{name}.parquet"
        if not file.is_file():
            about = self._render(sorted(set(wanted)), kind)
            if kind == _HELD_OUT:
                with (
                    replacing_file(self.folder / _ABOUT) as draft,
                    draft.open("w", encoding="utf-8", newline="") as table,
                ):
                    lines = csv.writer(table)
                    lines.writerow(("lifeStage", "sex"))
                    lines.writerows(about[one] for one in wanted)
            with replacing_file(file) as draft:
                parquet.write_table(table_from([self._row(index, number, kind) for index, number in wanted]), draft)
        return file

    def _render(self, wanted: list[tuple[int, int]], kind: int) -> dict[tuple[int, int], tuple[str, str]]:
        """Render the missing plates, a folder per species and kind; return life stage and sex of the measured ones."""
        by_species: dict[int, list[int]] = {}
        for species, number in wanted:
            by_species.setdefault(species, []).append(number)
        if kind == _TRAIN:  # a folder is whole or absent, so it has what the largest subset asks for
            for species in by_species:
                by_species[species] = list(range(int((self.drawn_N == species).sum())))
        jobs = [
            (self.pool, self._folder(species, kind), species, kind, numbers) for species, numbers in by_species.items()
        ]
        missing = [job for job in jobs if not job[1].is_dir()]
        if len(missing) < _FEW:
            for job in missing:
                _rendered(job)
        else:
            with ProcessPoolExecutor(self._processes, mp_context=get_context("spawn")) as processes:
                list(processes.map(_rendered, missing, chunksize=8))
        if kind == _TRAIN:
            return {}
        found: dict[tuple[int, int], tuple[str, str]] = {}
        for species in by_species:
            with (self._folder(species, kind) / _ABOUT).open(encoding="utf-8", newline="") as file:
                found |= {(species, number): (row[0], row[1]) for number, row in enumerate(csv.reader(file))}
        return found

    def _folder(self, species: int, kind: int) -> Path:
        return self.folder / ("measured" if kind == _HELD_OUT else "train") / f"{species:04d}"

    def _row(self, species: int, number: int, kind: int) -> CatalogRow:
        file = self._folder(species, kind) / f"{number:05d}.jpg"
        name = file.relative_to(self.folder).as_posix()
        return CatalogRow(
            uri=name, taxon=self.taxa[species], source="biosphere", source_id=name, group=name,
            split="val" if kind == _HELD_OUT else "train",
        )  # fmt: skip


@remembered
def _grown(pool: Pool) -> Biosphere:
    return Biosphere.grow(seed=pool.seed + _TREE, families=pool.families, species=pool.species)


def _rendered(job: tuple[Pool, Path, int, int, list[int]]) -> None:
    pool, folder, species, kind, numbers = job
    folder.parent.mkdir(parents=True, exist_ok=True)
    one = _grown(pool).species[species]
    with replacing_folder(folder, flush=False) as draft:
        about = []
        for number in numbers:
            picture = plate(one, np.random.default_rng([pool.seed, kind, species, number]), _PLATE)
            picture.image.save(draft / f"{number:05d}.jpg", "JPEG", quality=92, subsampling=0)
            about.append((picture.life_stage, picture.sex))
        with (draft / _ABOUT).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(about)
