"""A small open_clip model for tests of the towers: the same weights each time, large enough to have every part."""

from __future__ import annotations

from typing import Any

import torch
from open_clip import CLIP, SimpleTokenizer

from bioclip_core.device import Compute
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.towers.model import Towers

CPU = Compute("cpu", "fp32", "for tests")
SMALL = Preprocessing(size=32)
CAPTIONS = (
    "a photo of Animalia Chordata Mammalia Carnivora Canidae Vulpes ferrivulpes",
    "a photo of rust fox",
    "a photo of Plantae Tracheophyta Magnoliopsida Sapindales Sapindaceae Acer fictum with common name paper maple",
    "Vulpes ferrivulpes",
)
TOKENIZER = SimpleTokenizer()


def small_clip(*, vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **options: Any) -> CLIP:
    """Return a model with two blocks of width 64 per tower and images of 32 px, drawn from a fixed seed."""
    vision_cfg = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8, **(vision or {})}
    text_cfg = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2, **(text or {})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return CLIP(embed_dim=32, vision_cfg=vision_cfg, text_cfg=text_cfg, **options)


def small_towers(model: Any, **options: Any) -> Towers:
    """Return towers around a model, on the CPU in fp32 by default."""
    given: dict[str, Any] = {"captions": CAPTIONS, "preprocessing": SMALL, "compute": CPU, **options}
    return Towers(model, TOKENIZER, **given)


def some_images(count: int, seed: int = 0) -> torch.Tensor:
    """Return random pixels B×H×W×C, uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)


def own_image_features(model: Any, images_BHWC: torch.Tensor) -> torch.Tensor:
    """Return the image features that open_clip itself computes."""
    mean, std = (torch.tensor(values) * 255 for values in (SMALL.mean, SMALL.std))
    features: torch.Tensor = model.encode_image(
        ((images_BHWC.float() - mean) / std).permute(0, 3, 1, 2), normalize=True
    )
    return features


def own_text_features(model: Any, captions: tuple[str, ...]) -> torch.Tensor:
    """Return the text features that open_clip itself computes, with captions at full length."""
    features: torch.Tensor = model.encode_text(TOKENIZER(list(captions)), normalize=True)
    return features
