"""Cells: one model per world and size of the collection, with its features of the held-out plates, kept so that it is trained once."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache as remembered
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.fixtures import cache
from benchmarks.scaling.world import Plates, Pool
from bioclip_core.files.whole import replacing_file, replacing_folder
from bioclip_core.identity import settings_id
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD

UNTRAINED = 0
"""Size of the collection of a model with its first random weights: the zero of every curve."""


@dataclass(frozen=True, slots=True)
class Size:
    """The model and the length of its training, the same for every cell."""

    name: str = "small"
    families: int = 60
    species: int = 480
    sizes: tuple[int, ...] = (480, 1_440, 4_800, 15_360)
    plates: int = 16
    image_size: int = 48
    width: int = 16
    """Width of the first stage of the ResNet, which has one block per stage."""
    text_width: int = 64
    embed_dim: int = 96
    steps: int = 4_000
    batch_size: int = 64
    learning_rate: float = 1e-3

    def pool(self, seed: int) -> Pool:
        return Pool(seed, self.families, self.species, self.sizes, plates=self.plates)

    def model(self) -> Mapping[str, Any]:
        """Return the content of the JSON file to start from."""
        return {
            "model_cfg": {
                "embed_dim": self.embed_dim,
                "vision_cfg": {
                    "image_size": self.image_size, "head_width": 32, "layers": [1, 1, 1, 1], "width": self.width,
                },
                "text_cfg": {
                    "context_length": 77, "vocab_size": 49408, "width": self.text_width, "heads": self.text_width // 32, "layers": 1,
                },
            },
            "preprocess_cfg": {
                "mean": list(OPENAI_MEAN), "std": list(OPENAI_STD), "interpolation": "bicubic", "resize_mode": "squash",
            },
        }  # fmt: skip


SMALL = Size()
"""Size of the figures in SCALING.md."""

QUICK = Size(
    "quick", families=12, species=48, sizes=(32, 1_024), plates=4, image_size=32, width=4, text_width=32, embed_dim=32, steps=3,
    batch_size=16,
)  # fmt: skip
"""Size to check that everything runs; its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of a trained model for the held-out plates and the species of its world."""

    images_ND: NDArray[np.float32]
    """L2-normalised features of the N plates, in the order of the catalog."""
    texts_SD: NDArray[np.float32]
    """L2-normalised features of the taxonomic captions of the S species."""
    facts: Mapping[str, Any]
    """Images and species of the collection, processor time and commit."""


class Study:
    """All cells of one size on this machine."""

    def __init__(self, size: Size, *, may_train: bool = True, say: Callable[[str], None] = print) -> None:
        self.size = size
        self._may_train = may_train
        self.say = say

    def features(self, seed: int, images: int) -> Features | None:
        """Return the stored features of a cell, or train its model now; None if they are not stored and training is off.

        Args:
            seed: of the world and of the first weights.
            images: size of the collection; ``UNTRAINED`` takes the first random weights.
        """
        folder = (
            self._folder / "cells" / settings_id({**asdict(self.size), "name": "", "seed": seed, "images": images})[:16]
        )
        if not folder.is_dir():
            if not self._may_train:
                return None
            self.say(f"world {seed}, {images} images")
            made = self._made(seed, images, folder.with_name(folder.name + "-run"))
            with replacing_folder(folder) as draft:
                np.save(draft / "images.npy", made.images_ND.astype(np.float16))
                np.save(draft / "texts.npy", made.texts_SD.astype(np.float16))
                (draft / "facts.json").write_text(json.dumps(dict(made.facts), indent=2) + "\n", "utf-8")
            shutil.rmtree(folder.with_name(folder.name + "-run"), ignore_errors=True)
            self.say(f"  {dict(made.facts)}")
        images_ND, texts_SD = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("images", "texts"))
        return Features(images_ND, texts_SD, json.loads((folder / "facts.json").read_text("utf-8")))

    @property
    def _folder(self) -> Path:
        folder = cache() / "scaling"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _made(self, seed: int, images: int, run: Path) -> Features:
        started = time.process_time()
        plates = plates_of(self.size.pool(seed))
        trained = self._trained(seed, images, run, plates)
        seconds = time.process_time() - started
        images_ND, texts_SD = _encoded(trained, plates)
        facts = {
            "seed": seed, "images": images, "species": len(plates.covered(images)) if images else 0,
            "steps": self.size.steps if images else 0,
            "training_cpu_s": round(seconds, 1), "commit": machine.commit(), **(_losses(run) if images else {}),
        }  # fmt: skip
        return Features(images_ND, texts_SD, facts)

    def _trained(self, seed: int, images: int, run: Path, plates: Plates) -> Path:
        """Train a model, or continue an interrupted training; return its folder."""
        from bioclip_training.loop.recipe import TrainConfig
        from bioclip_training.loop.run import train

        size = self.size
        start = self._folder / f"start-{settings_id(dict(size.model()))[:12]}.json"
        with replacing_file(start) as draft:
            draft.write_text(json.dumps(size.model()), "utf-8")
        steps = size.steps if images else 1
        config = TrainConfig(
            data=str(plates.training(images or size.sizes[0])), start=f"new:{start}", output=str(run), seed=seed, steps=steps,
            batch_size=size.batch_size, validate_every=steps, save_every=min(steps, 200), dev_fraction=0.0, wise_ft=False,
            augmentation="none", precision="fp32", learning_rate=size.learning_rate if images else 1e-12, trunk_rate=1.0, workers=1,
            measure=False,
        )  # fmt: skip
        train(config, {})
        return run


@remembered
def plates_of(pool: Pool) -> Plates:
    return Plates(pool)


def _losses(run: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    return {"first_loss": round(losses[0], 3), "last_loss": round(float(np.mean(losses[-50:])), 3)}


def _encoded(model: Path, plates: Plates) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from bioclip_core.captions import Caption, captions_for_labels
    from bioclip_core.device import choose_compute
    from bioclip_core.errors import SourceError
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder
    from bioclip_core.progress import silent
    from bioclip_training.catalog.rows import Catalog
    from bioclip_training.evaluation.features import FeatureBook

    catalog = Catalog.open(plates.measured())
    rows_N = np.arange(len(catalog))
    encoder = open_encoder(find_model(f"local-dir:{model}", {}), choose_compute(precision="fp32"))
    book = FeatureBook(catalog, encoder, batch_size=64, workers=1)
    book.encode(rows_N, "images", silent)
    if book.failures:
        raise SourceError(
            f"{catalog.file}: {len(book.failures)} plates cannot be read, the first: {min(book.failures.items())}"
        )
    texts_SD = encoder.encode_texts([captions_for_labels(taxon, Caption.TAXONOMIC)[0] for taxon in plates.taxa])
    return book.of(rows_N).astype(np.float32), np.asarray(texts_SD, dtype=np.float32)
