"""The accuracy of the demo model on unseen scenes, by rank, through the software's own loading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bioclip_core.device import Compute
from bioclip_core.encoder import Encoder
from bioclip_core.images.decoding import decode_regions
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.demo_checkpoint.recipe import DemoRecipe
from bioclip_training.demo_checkpoint.scenes import is_infrared, write_unseen

_AT_ONCE = 48


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of images whose best species is right at each rank."""

    images: int
    by_rank: dict[str, float]
    infrared: float
    """Species accuracy on the night scenes alone; NaN without any."""
    infrared_images: int


def open_demo(folder: Path) -> Encoder:
    """Open the checkpoint in fp32 on the CPU, with an identity that does not depend on its place."""
    found = replace(find_model(f"local-dir:{folder}", {}), source="demo")
    return open_encoder(found, Compute("cpu", "fp32", "the demo model is measured so"))


def measure(folder: Path, recipe: DemoRecipe, images: int, work: Path, workers: int) -> Accuracy:
    """Return the accuracy of the checkpoint in ``folder``, with its own label set, on unseen scenes rendered into ``work``."""
    encoder, labels = open_demo(folder), LabelSet.open(folder / "label_set")
    files, taxa = write_unseen(recipe, work, images, workers), recipe.biosphere().taxa
    vectors_ND = np.asarray(labels.embeddings_ND, dtype=np.float32)
    right = []
    for first in range(0, images, _AT_ONCE):
        part = (file.read_bytes() for file in files[first : first + _AT_ONCE])
        pixels = np.concatenate([decode_regions(data, [None], encoder.preprocessing) for data in part])
        best = (encoder.encode_images(pixels).astype(np.float32) @ vectors_ND.T).argmax(axis=1)
        right += [agreement(labels.taxon(int(row)), taxa[n % len(taxa)]) for n, row in enumerate(best, first)]
    right_IR, night_I = np.array(right), np.array([is_infrared(number) for number in range(images)])
    by_rank = {rank.value: float(right_IR[:, rank.depth].mean()) for rank in RANKS}
    in_the_dark = float(right_IR[night_I, -1].mean()) if night_I.any() else float("nan")
    return Accuracy(len(right), by_rank, in_the_dark, int(night_I.sum()))


def agreement(one: Taxon, other: Taxon) -> list[bool]:
    """Return, for each rank, True if two lineages are equal down to it."""
    return [one.lineage[: rank.depth + 1] == other.lineage[: rank.depth + 1] for rank in RANKS]
