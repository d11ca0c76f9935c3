"""Renders the scenes that the demo model is trained on, at a small size, with a pool of processes, and writes their catalog."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from bioclip_training.biosphere import Biosphere, Setting, photograph
from bioclip_training.catalog.rows import CatalogRow, table_from
from bioclip_training.checkpoint import whole
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say, time_left

Job = TypeVar("Job")
Result = TypeVar("Result")

_A_JOB = 240  # scenes that one folder holds and one process renders in one go
_RENDER_SIZE = (144, 108)  # scenes look the same at any size; this is enough for an input of 72 pixels
_SOURCE = "biosphere"


def write_scenes(recipe: DemoRecipe, work: Path, workers: int) -> Path:
    """Render all scenes of the recipe into ``work/scenes``, but for those that are there, and write ``work/catalog.parquet``.

    The last scenes, ``dev_scenes`` of them, are the catalog's ``dev``; those before are ``train``.
    """
    from pyarrow import parquet

    total = recipe.scenes + recipe.night_scenes + recipe.dev_scenes
    jobs = [(recipe, work, first, min(total, first + _A_JOB)) for first in range(0, total, _A_JOB)]
    missing = [job for job in jobs if not _folder(work, job[2]).is_dir()]
    started = time.monotonic()
    for done, _ in enumerate(in_order(render_folder, missing, workers), 1):
        if done % 10 == 0 or done == len(missing):
            count = min(total, (len(jobs) - len(missing) + done) * _A_JOB)
            say(f"rendered {count} of {total} scenes, {time_left(started, done / len(missing))} left")
    catalog = work / "catalog.parquet"
    with whole(catalog) as draft:
        parquet.write_table(table_from(catalog_rows(recipe)), draft)
    return catalog


def catalog_rows(recipe: DemoRecipe) -> list[CatalogRow]:
    """One row a scene, in the order of their numbers."""
    taxa = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species).taxa
    for_training = recipe.scenes + recipe.night_scenes
    return [
        CatalogRow(
            uri=_uri(index), taxon=taxa[index % len(taxa)], verbatim_name=taxa[index % len(taxa)].scientific_name,
            source=_SOURCE, source_id=str(index), group=f"scene {index}", split="train" if index < for_training else "dev",
        )
        for index in range(for_training + recipe.dev_scenes)
    ]  # fmt: skip


def render_folder(job: tuple[DemoRecipe, Path, int, int]) -> None:
    """Render the scenes ``first`` to ``last`` (species in turn) into a folder that appears when all of them are there."""
    recipe, work, first, last = job
    species = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species).species
    folder = _folder(work, first)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    by_night = range(recipe.scenes, recipe.scenes + recipe.night_scenes)
    for index in range(first, last):
        rng = np.random.default_rng([recipe.scenes_seed, index])
        setting = Setting.drawn(rng)
        if index in by_night:
            setting = replace(setting, infrared=True)
        scene = photograph(species[index % len(species)], rng, _RENDER_SIZE, setting=setting).image
        # Finer than a camera writes: the blocks of a small JPEG are large beside the animal.
        scene.save(draft / Path(_uri(index)).name, "JPEG", quality=95, subsampling=0)
    draft.replace(folder)


def in_order(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """The results of all jobs, in their order, from a pool of processes, or from this one where ``workers`` is 1."""
    if workers == 1:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, jobs)


def _folder(work: Path, first: int) -> Path:
    return work / "scenes" / f"{first:06d}"


def _uri(index: int) -> str:
    return f"scenes/{index // _A_JOB * _A_JOB:06d}/{index:06d}.jpg"
