"""The demo model's training run: the trainer's own, on the catalog of scenes, from random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bioclip_training.checkpoint import whole
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say
from bioclip_training.recipe import Progress, TrainConfig, TrainResult
from bioclip_training.run import train

_ARCHITECTURE = "model.json"
_SAY_EVERY = 50  # steps
_SAVE_EVERY = 100  # steps; an interrupted run goes on from the last of them
_VALIDATIONS = 10


def learn(recipe: DemoRecipe, catalog: Path, workers: int) -> tuple[TrainConfig, TrainResult]:
    """Train in the catalog's folder, or go on with what an earlier call left there."""
    write_architecture(recipe, catalog.parent)
    config = train_config(recipe, catalog, workers)
    return config, train(config, {})


def write_architecture(recipe: DemoRecipe, work: Path) -> None:
    """The file that the run starts from: what is to be built, without weights."""
    described = {"model_cfg": recipe.model_cfg(), "preprocess_cfg": recipe.preprocess_cfg()}
    with whole(work / _ARCHITECTURE) as draft:
        draft.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def train_config(recipe: DemoRecipe, catalog: Path, workers: int) -> TrainConfig:
    """The recipe in the trainer's words; the run lies beside the catalog."""
    work = catalog.parent
    return TrainConfig(
        data=str(catalog), start=f"new:{work / _ARCHITECTURE}", output=str(work / "run"), loss="taxon",
        steps=recipe.steps, batch_size=recipe.batch_size, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay,
        warmup=recipe.warmup_steps, average=recipe.average, augmentation=recipe.augmentation, wise_ft=False,
        validate_every=max(1, recipe.steps // _VALIDATIONS), save_every=_SAVE_EVERY,
        device="cpu", precision="fp32",  # so that it comes out alike with and without a GPU
        workers=workers, seed=recipe.weights_seed, tell=_teller(),
    )  # fmt: skip


def _teller() -> Callable[[Progress], None]:
    """Says every message and validation, and now and then how the loss is."""

    def tell(progress: Progress) -> None:
        at = f"step {progress.step} of {progress.total}"
        if progress.dev_top1 is not None:
            say(f"{at}: {progress.dev_top1:.1%} of dev right {progress.message}".rstrip())
        elif progress.message:
            say(progress.message)
        elif progress.step % _SAY_EVERY == 0 and progress.loss is not None:
            say(f"{at}: loss {progress.loss:.3f}, {progress.samples_per_s or 0:.0f} samples/s")

    return tell
