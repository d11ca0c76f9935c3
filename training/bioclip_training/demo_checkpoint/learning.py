"""The demo model's two training runs: from random weights on ordinary scenes, then with night scenes added."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bioclip_core.files.whole import write_whole
from bioclip_training.demo_checkpoint.recipe import DemoRecipe, say
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress
from bioclip_training.loop.run import train

_ARCHITECTURE = "model.json"
_SAY_EVERY = 50  # steps
_SAVE_EVERY = 100  # steps; an interrupted run continues from the last of them
_VALIDATIONS = 10


def learn(recipe: DemoRecipe, ordinary: Path, everything: Path, workers: int) -> tuple[TrainConfig, TrainConfig]:
    """Train both runs, or continue those of an earlier call beside the catalogs; return their settings."""
    first, second = train_configs(recipe, ordinary, everything, workers)
    write_architecture(recipe, ordinary.parent)
    say("learning from ordinary scenes")
    train(first, {})
    say("learning from night scenes too")
    train(second, {})
    return first, second


def write_architecture(recipe: DemoRecipe, work: Path) -> None:
    """Write the file that the first run starts from: the architecture, without weights."""
    described = {"model_cfg": recipe.model_cfg(), "preprocess_cfg": recipe.preprocess_cfg()}
    write_whole(work / _ARCHITECTURE, json.dumps(described, indent=2) + "\n")


def train_configs(
    recipe: DemoRecipe, ordinary: Path, everything: Path, workers: int
) -> tuple[TrainConfig, TrainConfig]:
    """Return the recipes of the two runs."""
    work = ordinary.parent
    first = TrainConfig(
        data=str(ordinary), start=f"new:{work / _ARCHITECTURE}", output=str(work / "first"), loss="taxon",
        steps=recipe.steps, batch_size=recipe.batch_size, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay,
        warmup=recipe.warmup_steps, average=recipe.average, augmentation=recipe.augmentation, wise_ft=False,
        validate_every=max(1, recipe.steps // _VALIDATIONS), save_every=_SAVE_EVERY,
        device="cpu", precision="fp32",  # so that the result is equal with and without a GPU
        workers=workers, seed=recipe.weights_seed, tell=_report,
    )  # fmt: skip
    second = replace(
        first, data=str(everything), start=f"local-dir:{first.output}", output=str(work / "second"), steps=recipe.night_steps,
        learning_rate=recipe.night_learning_rate, trunk_rate=1.0, validate_every=max(1, recipe.night_steps // _VALIDATIONS),
    )  # fmt: skip
    return first, second


def _report(progress: TrainingProgress) -> None:
    """Say every message and validation, and the loss of some steps."""
    at = f"step {progress.step} of {progress.total}"
    if progress.dev_top1 is not None:
        say(f"{at}: {progress.dev_top1:.1%} of dev right {progress.message}".rstrip())
    elif progress.message:
        say(progress.message)
    elif progress.step % _SAY_EVERY == 0 and progress.loss is not None:
        say(f"{at}: loss {progress.loss:.3f}, {progress.samples_per_s or 0:.0f} samples/s")
