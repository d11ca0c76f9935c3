"""The demo checkpoint as an open_clip folder: weights, config, label set and a README."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from bioclip_core.labels.building import build_label_set
from bioclip_core.models import WEIGHTS
from bioclip_training.demo_checkpoint.evaluation import Accuracy, open_demo
from bioclip_training.demo_checkpoint.recipe import DemoRecipe
from bioclip_training.loop.checkpoint import write_model
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.start import open_start

_TOKENS = "token_embedding.weight"
_README = """\
# The demo model

A small CLIP model of an invented tree of life, so that a first look and a host's tests need no network and no data.

**Everything in it is fictional.** Its {species} species in {families} families do not exist; every scientific name from
kingdom to genus begins with "Fict" and the rest is made up. It knows nothing about real organisms: it answers a photo of
a fox with an invented species. Use `bioclip-2` for real images.

- Images: {image_size} × {image_size} pixels, squashed. Vision transformer of {vision_layers} layers, width {vision_width},
  patch {patch_size}; text transformer of {text_layers} layers, width {text_width}; CLIP's tokenizer. float16.
- Trained from nothing by this package's own trainer on scenes rendered by `bioclip_training.biosphere`: {steps} steps of {batch_size}
  on {scenes} scenes, then {night_steps} with {night_scenes} infrared scenes added; weights chosen on {dev_scenes} others.
  Seed {weights_seed}.
- Made by `python -m bioclip_training.demo_checkpoint --output bioclip_plugin/demo_model`.
- `label_set/` holds the taxonomic captions of all its species. Licence: MIT, as the software.

Right on {images} unseen camera-trap scenes of 1024 × 768 pixels ({infrared_images} of them infrared), by the best of all {species} species:

| rank | right |
|---|---|
{rows}

Species on the infrared scenes alone, which have no colour: {infrared:.1%}.
"""


def write_checkpoint(folder: Path, recipe: DemoRecipe, first: TrainConfig, last: TrainConfig) -> None:
    """Write weights, config and label set of the last training run into a new folder."""
    weights, start = load_file(Path(last.output) / WEIGHTS[0]), open_start(first.start, {}, first.seed)
    weights[_TOKENS] = packable(weights[_TOKENS], start.model.state_dict()[_TOKENS])
    halved = {name: tensor.to(torch.float16) for name, tensor in weights.items()}
    write_model(folder, halved, recipe.model_cfg(), recipe.preprocess_cfg())
    build_label_set(recipe.biosphere().taxa, open_demo(folder), folder / "label_set")


def packable(trained_VD: torch.Tensor, first_VD: torch.Tensor) -> torch.Tensor:
    """Return a token table with ±0.02 in place of noise in the rows that training left unchanged.

    No caption of the biosphere uses those rows, which are nearly all. They stay distinct and have the size that CLIP begins
    with, and git and the wheel pack the file to less than half.
    """
    untouched_V1 = (trained_VD == first_VD).all(dim=1, keepdim=True)
    return torch.where(untouched_V1, torch.where(first_VD < 0, -0.02, 0.02), trained_VD)


def write_readme(folder: Path, recipe: DemoRecipe, accuracy: Accuracy) -> None:
    """Write what the model is, how it was made and how good it is."""
    rows = "\n".join(f"| {rank} | {share:.1%} |" for rank, share in accuracy.by_rank.items())
    text = _README.format(**{**asdict(recipe), **asdict(accuracy), "rows": rows})
    (folder / "README.md").write_text(text, encoding="utf-8")
