"""The scenes that the demo model is trained and measured on, rendered by a pool of processes; finished folders are kept."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pyarrow import parquet

from bioclip_core.files.whole import replacing_file, replacing_folder
from bioclip_core.progress import TimeLeft
from bioclip_training.biosphere import Setting, photograph
from bioclip_training.catalog.rows import CatalogRow, table_from
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say

UNSEEN_SEED = 2031
"""Seed of the scenes that the figures are for; no training scene has it."""

_PER_FOLDER = 240  # scenes of one folder, which one process renders in one go
_PER_UNSEEN_FOLDER = 36  # unseen scenes have a camera's size and take longer
_RENDER_SIZE = (144, 108)  # scenes look the same at any size; this is enough for an input of 72 pixels


@dataclass(frozen=True, slots=True)
class FolderJob:
    """The scenes ``first`` to ``last`` (exclusive), species in turn, to be rendered into a folder."""

    recipe: DemoRecipe
    folder: Path
    numbers: range
    is_unseen: bool

    def file(self, number: int) -> Path:
        """Return the path of a scene."""
        return self.folder / f"{number:06d}.jpg"


def write_scenes(recipe: DemoRecipe, work: Path, workers: int) -> tuple[Path, Path]:
    """Render the scenes for training into ``work/scenes``, and list them in two catalogs: without and with the night scenes.

    The last ``dev_scenes`` of the scenes are the ``dev`` of both; those before are ``train``.
    """
    taxa, for_training = recipe.biosphere().taxa, recipe.scenes + recipe.night_scenes
    jobs = _rendered(recipe, work / "scenes", for_training + recipe.dev_scenes, workers, is_unseen=False)
    rows = [
        CatalogRow(
            uri=job.file(number).relative_to(work).as_posix(), taxon=taxa[number % len(taxa)], source="biosphere",
            source_id=str(number), group=f"scene {number}", split="train" if number < for_training else "dev",
        )
        for job in jobs
        for number in job.numbers
    ]  # fmt: skip
    catalogs = {"ordinary.parquet": [*rows[: recipe.scenes], *rows[for_training:]], "all.parquet": rows}
    for name, listed in catalogs.items():
        if not (work / name).is_file():  # the run stores its hash, and another version of pyarrow may write other bytes
            with replacing_file(work / name) as draft:
                parquet.write_table(table_from(listed), draft)
    return work / "ordinary.parquet", work / "all.parquet"


def write_unseen(recipe: DemoRecipe, work: Path, images: int, workers: int) -> list[Path]:
    """Render unseen scenes as a camera writes them into ``work/unseen``; return their files in the order of their numbers."""
    jobs = _rendered(recipe, work / "unseen", images, workers, is_unseen=True)
    return [job.file(number) for job in jobs for number in job.numbers]


def is_infrared(number: int) -> bool:
    """Return True if an unseen scene was taken at night."""
    return Setting.drawn(_unseen_rng(number)).infrared  # a photograph draws its setting first


def render_folder(job: FolderJob) -> None:
    """Render unseen scenes of a camera's size and compression, or small scenes for training.

    Scenes are infrared at the ordinary share, the recipe's night scenes always.
    """
    recipe, species = job.recipe, job.recipe.biosphere().species
    with replacing_folder(job.folder, flush=False) as draft:
        for number in job.numbers:
            kind, file = species[number % len(species)], draft / job.file(number).name
            if job.is_unseen:
                photograph(kind, _unseen_rng(number)).image.save(file, "JPEG", quality=88)
                continue
            rng = np.random.default_rng([recipe.scenes_seed, number])
            setting = Setting.drawn(rng)
            if recipe.scenes <= number < recipe.scenes + recipe.night_scenes:
                setting = replace(setting, infrared=True)
            # Finer than a camera writes: the blocks of a JPEG are large in so small a scene.
            photograph(kind, rng, _RENDER_SIZE, setting=setting).image.save(file, "JPEG", quality=95, subsampling=0)


def _unseen_rng(number: int) -> np.random.Generator:
    return np.random.default_rng([UNSEEN_SEED, number])


def _rendered(recipe: DemoRecipe, folder: Path, total: int, workers: int, *, is_unseen: bool) -> list[FolderJob]:
    """Render the missing folders of some scenes, in a pool of processes unless ``workers`` is 1; return all folders."""
    size = _PER_UNSEEN_FOLDER if is_unseen else _PER_FOLDER
    parts = [range(first, min(total, first + size)) for first in range(0, total, size)]
    # The numbers are in the name, so that a folder with fewer scenes is not taken for a folder with more.
    jobs = [FolderJob(recipe, folder / f"{part.start:06d}-{part.stop:06d}", part, is_unseen) for part in parts]
    missing = [job for job in jobs if not job.folder.is_dir()]
    time_left = TimeLeft()
    with ExitStack() as stack:
        rendered: Iterator[None] = map(render_folder, missing)
        if workers > 1 and len(missing) > 1:
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
            rendered = pool.map(render_folder, missing)
        for done, (job, _) in enumerate(zip(missing, rendered, strict=True), 1):
            time_left.report(done)
            if done % 10 == 0 or done == len(missing):
                seconds = time_left.seconds(len(missing) - done)
                left = "" if seconds is None else f", {round(seconds)} s left"
                say(f"rendered {job.numbers.stop} of {total} scenes in {folder.name}{left}")
    return jobs
