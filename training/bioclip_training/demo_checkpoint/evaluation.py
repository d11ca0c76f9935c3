"""How often the demo model is right on scenes that it has not seen, by rank, through the software's own loading."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bioclip_core.device import Compute
from bioclip_core.encoder import Encoder, open_encoder
from bioclip_core.images import decode_regions
from bioclip_core.labels import LabelSet
from bioclip_core.models import find_model
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.biosphere import Biosphere, photograph
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say, time_left
from bioclip_training.demo_checkpoint.scenes import in_order

UNSEEN_SEED = 2031
"""Of the scenes that the figures are for; no training scene has it."""

_A_JOB = 36


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of images whose best species is right at each rank."""

    images: int
    by_rank: dict[str, float]
    infrared: float
    """Species accuracy on the night scenes alone; NaN where there are none."""
    infrared_images: int


def open_demo(folder: Path) -> Encoder:
    """The checkpoint in fp32 on the CPU, with an identity that does not depend on where it lies."""
    found = replace(find_model(f"local-dir:{folder}", {}), source="demo")
    return open_encoder(found, Compute("cpu", "fp32", "the demo model is measured so"))


def unseen_pixels(job: tuple[DemoRecipe, Preprocessing, int, int]) -> tuple[np.ndarray, list[bool]]:
    """Full-size JPEG scenes ``first`` to ``last`` (species in turn) as model input, and which are infrared."""
    recipe, preprocessing, first, last = job
    species = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species).species
    pixels, infrared = [], []
    for number in range(first, last):
        photo = photograph(species[number % len(species)], np.random.default_rng([UNSEEN_SEED, number]))
        buffer = io.BytesIO()
        photo.image.save(buffer, "JPEG", quality=88)
        pixels += decode_regions(buffer.getvalue(), [None], preprocessing)
        infrared.append(photo.infrared)
    return np.stack(pixels), infrared


def measure(folder: Path, recipe: DemoRecipe, images: int, workers: int) -> Accuracy:
    """Accuracy of the checkpoint in ``folder``, with its own label set, on that many unseen scenes."""
    encoder, labels = open_demo(folder), LabelSet.open(folder / "label_set")
    taxa = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species).taxa
    vectors_ND = np.asarray(labels.embeddings_ND, dtype=np.float32)
    right, night = [], []
    for first, (pixels, infrared) in _rendered(recipe, replace(encoder.preprocessing, said_by={}), images, workers):
        best = (encoder.encode_images(pixels).astype(np.float32) @ vectors_ND.T).argmax(axis=1)
        for offset, row in enumerate(best):
            right.append(agreement(labels.taxon(int(row)), taxa[(first + offset) % len(taxa)]))
        night += infrared
    right_IR, night_I = np.array(right), np.array(night)
    by_rank = {rank.value: float(right_IR[:, rank.depth].mean()) for rank in RANKS}
    in_the_dark = float(right_IR[night_I, -1].mean()) if night_I.any() else float("nan")
    return Accuracy(len(right), by_rank, in_the_dark, int(night_I.sum()))


def agreement(one: Taxon, other: Taxon) -> list[bool]:
    """For each rank, whether two lineages are the same down to it."""
    return [one.lineage[: rank.depth + 1] == other.lineage[: rank.depth + 1] for rank in RANKS]


def _rendered(
    recipe: DemoRecipe, preprocessing: Preprocessing, images: int, workers: int
) -> Iterator[tuple[int, tuple[np.ndarray, list[bool]]]]:
    jobs = [(recipe, preprocessing, first, min(images, first + _A_JOB)) for first in range(0, images, _A_JOB)]
    started = time.monotonic()
    for done, (job, part) in enumerate(zip(jobs, in_order(unseen_pixels, jobs, workers), strict=True), 1):
        yield job[2], part
        if done % 5 == 0 or done == len(jobs):
            say(f"measured on {job[3]} of {images} unseen scenes, {time_left(started, done / len(jobs))} left")
