"""Renders the scenes that the demo model is trained on, at a small size, with a pool of processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from bioclip_training.biosphere import Biosphere, Setting, photograph
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say, time_left

Job = TypeVar("Job")
Result = TypeVar("Result")

_A_JOB = 240
_RENDER_SIZE = (144, 108)  # scenes look the same at any size; this is enough for an input of 72 pixels


def render_pixels(job: tuple[DemoRecipe, int, int]) -> np.ndarray:
    """The scenes ``first`` to ``last`` (one a row, species in turn), squashed: N×S×S×3 uint8. Night scenes come last."""
    recipe, first, last = job
    species = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species).species
    side = (recipe.image_size, recipe.image_size)
    pixels = np.empty((last - first, *side, 3), dtype=np.uint8)
    for index in range(first, last):
        rng = np.random.default_rng([recipe.scenes_seed, index])
        setting = Setting.drawn(rng)
        if index >= recipe.scenes:
            setting = replace(setting, infrared=True)
        scene = photograph(species[index % len(species)], rng, _RENDER_SIZE, setting=setting).image
        pixels[index - first] = np.asarray(scene.resize(side, Image.Resampling.BICUBIC))
    return pixels


def in_order(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """The results of all jobs, in their order, from a pool of processes, or from this one where ``workers`` is 1."""
    if workers == 1:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, jobs)


def render_all(recipe: DemoRecipe, file: Path, workers: int) -> np.ndarray:
    """All scenes of the recipe as a memory-mapped array, rendered by a pool of processes."""
    side, total = recipe.image_size, recipe.scenes + recipe.night_scenes
    pixels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(total, side, side, 3))
    jobs = [(recipe, first, min(total, first + _A_JOB)) for first in range(0, total, _A_JOB)]
    started = time.monotonic()
    for done, ((_, first, last), part) in enumerate(zip(jobs, in_order(render_pixels, jobs, workers), strict=True), 1):
        pixels[first:last] = part
        if done % 10 == 0 or done == len(jobs):
            say(f"rendered {last} of {total} scenes, {time_left(started, done / len(jobs))} left")
    return pixels
