"""Writes the demo checkpoint as an open_clip folder: weights, config, label set and a README."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.label_building import build_label_set
from bioclip_core.models import CONFIG, WEIGHTS
from bioclip_training.biosphere import Biosphere
from bioclip_training.demo_checkpoint.captions import CaptionTable
from bioclip_training.demo_checkpoint.evaluation import Accuracy, open_demo
from bioclip_training.demo_checkpoint.recipe import DemoRecipe

if TYPE_CHECKING:
    import torch

_README = """\
# The demo model

A small CLIP model of an invented tree of life, so that a first look and a host's tests need no network and no data.

**Everything in it is fictional.** Its {species} species in {families} families do not exist; every scientific name from
kingdom to genus begins with "Fict" and the rest is made up. It knows nothing about real organisms: it answers a photo of
a fox with an invented species. Use `bioclip-2` for real images.

- Images: {image_size} × {image_size} pixels, squashed. Vision transformer of {vision_layers} layers, width {vision_width},
  patch {patch_size}; text transformer of {text_layers} layers, width {text_width}; CLIP's tokenizer. float16.
- Trained from nothing on scenes rendered by `bioclip_training.biosphere`: {first_steps} steps of {batch_size} on {scenes} scenes,
  then {second_steps} steps with {night_scenes} infrared scenes added.
- Made by `python -m bioclip_training.demo_checkpoint --output bioclip_plugin/demo_model`.
- `label_set/` holds the taxonomic captions of all its species. Licence: MIT, as the software.

Right on {images} unseen camera-trap scenes of 1024 × 768 pixels ({infrared_images} of them infrared), by the best of all {species} species:

| rank | right |
|---|---|
{rows}

Species on the infrared scenes alone, which have no colour: {infrared:.1%}.
"""


def write_checkpoint(folder: Path, recipe: DemoRecipe, model: Any, table: torch.Tensor, captions: CaptionTable) -> None:
    """Weights, config and label set into a new folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(_weights(model, table, captions), folder / WEIGHTS[0], metadata={"format": "pt"})
    (folder / WEIGHTS[0]).chmod(0o644)  # safetensors makes it private; the wheel is for everybody
    config = {"model_cfg": recipe.model_cfg(), "preprocess_cfg": recipe.preprocess_cfg()}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    biosphere = Biosphere.grow(seed=recipe.biosphere_seed, families=recipe.families, species=recipe.species)
    build_label_set(biosphere.taxa, open_demo(folder), folder / "label_set")


def _weights(model: Any, table: torch.Tensor, captions: CaptionTable) -> dict[str, torch.Tensor]:
    """The model's tensors as float16, the trained token rows back in their places."""
    import torch

    whole = table.clone()
    whole[torch.from_numpy(captions.used)] = model.token_embedding.weight.detach()
    state = {**model.state_dict(), "token_embedding.weight": whole}
    return {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in state.items()}


def write_readme(folder: Path, recipe: DemoRecipe, accuracy: Accuracy) -> None:
    """What the model is, how it was made and how good it is."""
    rows = "\n".join(f"| {rank} | {share:.1%} |" for rank, share in accuracy.by_rank.items())
    steps = {"first_steps": recipe.first.steps, "second_steps": recipe.second.steps}
    text = _README.format(**{**asdict(recipe), **asdict(accuracy), **steps, "rows": rows})
    (folder / "README.md").write_text(text, encoding="utf-8")


def put_in_place(finished: Path, output: Path) -> None:
    """Move a finished folder to where it is wanted; what stood there is removed only after that."""
    old = output.with_name(f".{output.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if output.exists():
        output.replace(old)  # a folder that is not empty cannot be replaced in one step
    finished.replace(output)
    if old.exists():
        shutil.rmtree(old)
