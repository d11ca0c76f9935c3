"""Trains the demo model: the loop, its loss, and the small token table that makes it quick."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD
from bioclip_training.demo_checkpoint.captions import CaptionTable, encode_captions
from bioclip_training.demo_checkpoint.recipe import END_OF_TEXT, DemoRecipe, Phase, say, time_left

if TYPE_CHECKING:
    import torch


def new_model(recipe: DemoRecipe, captions: CaptionTable) -> tuple[Any, torch.Tensor]:
    """A fresh model whose token table holds only the used tokens, and the whole table to put them back into.

    The table starts as ±0.02 instead of normal noise: distinct for every word just the same, and the rows that no
    caption touches stay so, which lets git and the wheel pack the file to a third.
    """
    import torch
    from open_clip.model import CLIP

    torch.manual_seed(recipe.weights_seed)
    cfg = recipe.model_cfg()
    model = CLIP(cfg["embed_dim"], cfg["vision_cfg"], cfg["text_cfg"])
    table = torch.where(torch.rand(END_OF_TEXT + 1, recipe.text_width) < 0.5, -0.02, 0.02)
    small = table[torch.from_numpy(captions.used)].clone()
    model.token_embedding = torch.nn.Embedding(len(small), recipe.text_width, _weight=small)
    return model, table


def contrastive_loss(
    images_BD: torch.Tensor, texts_UD: torch.Tensor, same_BU: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Both directions of CLIP's loss; all pairs of one taxon are positives, none is ever a negative."""
    logits_BU = scale * images_BD @ texts_UD.T
    target_BU = same_BU.float()
    by_image = -(target_BU / target_BU.sum(1, keepdim=True) * logits_BU.log_softmax(1)).sum(1).mean()
    by_text = -(target_BU / target_BU.sum(0, keepdim=True) * logits_BU.log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2


def batches(scenes: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Scene numbers, a shuffled epoch after another without end."""
    while True:
        order = rng.permutation(scenes)
        for first in range(0, scenes - size + 1, size):
            yield order[first : first + size]


def to_input(pixels: np.ndarray) -> torch.Tensor:
    """N×S×S×3 uint8 to the model's input, N×3×S×S."""
    import torch

    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(255)
    return (images - torch.tensor(OPENAI_MEAN).view(1, 3, 1, 1)) / torch.tensor(OPENAI_STD).view(1, 3, 1, 1)


def augmented(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A batch with each picture shifted by up to four pixels and half of them mirrored."""
    out = pixels.copy()
    flipped = rng.random(len(out)) < 0.5
    out[flipped] = out[flipped, :, ::-1]
    for index, (down, across) in enumerate(rng.integers(-4, 5, (len(out), 2))):
        padded = np.pad(out[index], ((4, 4), (4, 4), (0, 0)), mode="edge")
        out[index] = padded[4 + down : 4 + down + out.shape[1], 4 + across : 4 + across + out.shape[2]]
    return out


def train(recipe: DemoRecipe, pixels: np.ndarray, captions: CaptionTable) -> tuple[Any, torch.Tensor]:
    """The trained model (with the small token table) and the whole table."""
    model, table = new_model(recipe, captions)
    seed = recipe.weights_seed
    train_phase(model, recipe.first, recipe, pixels[: recipe.scenes], captions, np.random.default_rng(seed))
    train_phase(model, recipe.second, recipe, pixels, captions, np.random.default_rng([seed, 2]))
    return model.eval(), table


def train_phase(
    model: Any, phase: Phase, recipe: DemoRecipe, pixels: np.ndarray, captions: CaptionTable, rng: np.random.Generator
) -> None:
    """One phase on all of ``pixels`` (N×S×S×3 uint8, species in turn), with an optimiser of its own."""
    import torch
    from torch.nn import functional

    model.train()
    optimizer = _optimizer(model, recipe)
    started, window = time.monotonic(), []
    for step, numbers in zip(range(phase.steps), batches(len(pixels), recipe.batch_size, rng), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(phase, step)
        species = numbers % recipe.species
        rows = captions.draw(species, rng)
        images_BD = functional.normalize(model.visual(to_input(augmented(pixels[numbers], rng))), dim=-1)
        same_BU = torch.from_numpy(species[:, None] == captions.taxon[rows][None, :])
        loss = contrastive_loss(images_BD, encode_captions(model, captions, rows), same_BU, model.logit_scale.exp())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        window.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == phase.steps:
            left = time_left(started, (step + 1) / phase.steps)
            say(f"step {step + 1} of {phase.steps}, loss {np.mean(window):.3f}, {left} left")
            window.clear()


def _optimizer(model: Any, recipe: DemoRecipe) -> torch.optim.Optimizer:
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or "embedding" in name]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)


def learning_rate(phase: Phase, step: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < phase.warmup_steps:
        return phase.learning_rate * (step + 1) / phase.warmup_steps
    done = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
