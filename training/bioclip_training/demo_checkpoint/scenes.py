"""Renders the scenes that the demo model is trained and measured on, with a pool of processes; folders that are there stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bioclip_core.files.whole import replacing_file, replacing_folder
from bioclip_training.biosphere import Setting, photograph
from bioclip_training.catalog.rows import CatalogRow, table_from
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say, time_left

UNSEEN_SEED = 2031
"""Of the scenes that the figures are for; no training scene has it."""

_A_FOLDER = 240  # scenes that one folder holds and one process renders in one go
_AN_UNSEEN_FOLDER = 36  # those are of a camera's size and take longer
_RENDER_SIZE = (144, 108)  # scenes look the same at any size; this is enough for an input of 72 pixels


@dataclass(frozen=True, slots=True)
class FolderJob:
    """The scenes ``first`` to ``last`` (exclusive), species in turn, to be rendered into a folder."""

    recipe: DemoRecipe
    folder: Path
    first: int
    last: int

    def file(self, number: int) -> Path:
        """Where a scene lies."""
        return self.folder / f"{number:06d}.jpg"


def write_scenes(recipe: DemoRecipe, work: Path, workers: int) -> tuple[Path, Path]:
    """Render the scenes for training into ``work/scenes``, and list them in two catalogs: without the night scenes, and with them.

    The last scenes, ``dev_scenes`` of them, are the ``dev`` of both; those before are ``train``.
    """
    total = recipe.scenes + recipe.night_scenes + recipe.dev_scenes
    jobs = _jobs(recipe, work / "scenes", total, _A_FOLDER)
    _render(render_folder, jobs, workers, "scenes for training")
    rows = list(_rows(recipe, work, jobs))
    ordinary = [*rows[: recipe.scenes], *rows[recipe.scenes + recipe.night_scenes :]]
    return _catalog(work / "ordinary.parquet", ordinary), _catalog(work / "all.parquet", rows)


def _catalog(file: Path, rows: list[CatalogRow]) -> Path:
    from pyarrow import parquet

    if not file.is_file():  # the run remembers its bytes, and another pyarrow may write others
        with replacing_file(file) as draft:
            parquet.write_table(table_from(rows), draft)
    return file


def write_unseen(recipe: DemoRecipe, work: Path, images: int, workers: int) -> list[Path]:
    """Render that many scenes as a camera writes them into ``work/unseen``, and give their files in the order of their numbers."""
    jobs = _jobs(recipe, work / "unseen", images, _AN_UNSEEN_FOLDER)
    _render(render_unseen_folder, jobs, workers, "unseen scenes")
    return [job.file(number) for job in jobs for number in range(job.first, job.last)]


def is_infrared(number: int) -> bool:
    """Whether an unseen scene was taken by night."""
    return Setting.drawn(_unseen_rng(number)).infrared  # a photograph draws its setting first


def render_folder(job: FolderJob) -> None:
    """Small scenes for training, infrared at the ordinary share or, in the recipe's night scenes, always."""
    species = job.recipe.biosphere().species
    by_night = range(job.recipe.scenes, job.recipe.scenes + job.recipe.night_scenes)
    with replacing_folder(job.folder, flush=False) as draft:
        for number in range(job.first, job.last):
            rng = np.random.default_rng([job.recipe.scenes_seed, number])
            setting = Setting.drawn(rng)
            if number in by_night:
                setting = replace(setting, infrared=True)
            scene = photograph(species[number % len(species)], rng, _RENDER_SIZE, setting=setting).image
            # Finer than a camera writes: the blocks of a JPEG are large in so small a scene.
            scene.save(draft / job.file(number).name, "JPEG", quality=95, subsampling=0)


def render_unseen_folder(job: FolderJob) -> None:
    """Scenes of a camera's size and compression."""
    species = job.recipe.biosphere().species
    with replacing_folder(job.folder, flush=False) as draft:
        for number in range(job.first, job.last):
            scene = photograph(species[number % len(species)], _unseen_rng(number)).image
            scene.save(draft / job.file(number).name, "JPEG", quality=88)


def _unseen_rng(number: int) -> np.random.Generator:
    return np.random.default_rng([UNSEEN_SEED, number])


def _jobs(recipe: DemoRecipe, folder: Path, total: int, size: int) -> list[FolderJob]:
    starts = range(0, total, size)
    # The number of scenes is in the name, so that a folder of fewer is not taken for one of more.
    return [
        FolderJob(recipe, folder / f"{first:06d}-{min(total, first + size):06d}", first, min(total, first + size))
        for first in starts
    ]


def _rows(recipe: DemoRecipe, work: Path, jobs: list[FolderJob]) -> Iterator[CatalogRow]:
    taxa, for_training = recipe.biosphere().taxa, recipe.scenes + recipe.night_scenes
    for job in jobs:
        for number in range(job.first, job.last):
            yield CatalogRow(
                uri=job.file(number).relative_to(work).as_posix(), taxon=taxa[number % len(taxa)], source="biosphere",
                source_id=str(number), group=f"scene {number}", split="train" if number < for_training else "dev",
            )  # fmt: skip


def _render(work: Callable[[FolderJob], None], jobs: list[FolderJob], workers: int, what: str) -> None:
    """Do the jobs whose folders are not there, in a pool of processes, or in this one where ``workers`` is 1."""
    missing = [job for job in jobs if not job.folder.is_dir()]
    started = time.monotonic()
    for done, job in enumerate(_done(work, missing, workers), 1):
        if done % 10 == 0 or done == len(missing):
            say(f"rendered {job.last} of {jobs[-1].last} {what}, {time_left(started, done / len(missing))} left")


def _done(work: Callable[[FolderJob], None], jobs: list[FolderJob], workers: int) -> Iterator[FolderJob]:
    """The jobs in their order, each when it is done."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            work(job)
            yield job
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for job, _ in zip(jobs, pool.map(work, jobs), strict=True):
            yield job
