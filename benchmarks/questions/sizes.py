"""Sizes of the experiments: a quick look, the size for two busy cores, and the size for a quiet machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.questions.world import World
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD

Vision = Literal["resnet", "transformer"]


@dataclass(frozen=True, slots=True)
class Size:
    """A world, a model and the length of its training: part of the identity of every cell."""

    name: str
    families: int = 24
    species: int = 144
    plates: int = 24
    val_plates: int = 6
    image_size: int = 48
    width: int = 12
    """Width of the first stage of the ResNet, which has one block per stage."""
    transformer_width: int = 96
    """Width of the vision transformer (three layers, patches of 8 pixels) for the question about replay."""
    text_width: int = 64
    embed_dim: int = 96
    steps: int = 120
    transformer_steps: int = 240
    """Steps of the transformer, which needs more than the ResNet to learn from few images."""
    fine_tuning_steps: int = 60
    batch_size: int = 64
    learning_rate: float = 2e-3
    fine_tuning_rate: float = 1e-3
    label_counts: tuple[int, ...] = (8, 24, 96)
    """Label counts of the question about losses. The largest is the number of seen species."""

    def world(self, seed: int) -> World:
        return World(seed, self.families, self.species, self.plates, 2 * self.plates, self.val_plates)

    def model(self, vision: Vision) -> Mapping[str, Any]:
        """Return the content of the JSON file to start from. A ResNet learns from few images far sooner than a transformer."""
        towers: Mapping[Vision, Mapping[str, Any]] = {
            "resnet": {"layers": [1, 1, 1, 1], "width": self.width},
            "transformer": {"layers": 3, "width": self.transformer_width, "patch_size": 8},
        }
        return {
            "model_cfg": {
                "embed_dim": self.embed_dim,
                "vision_cfg": {"image_size": self.image_size, "head_width": 32, **towers[vision]},
                "text_cfg": {
                    "context_length": 77, "vocab_size": 49408, "width": self.text_width, "heads": self.text_width // 32, "layers": 1,
                },
            },
            "preprocess_cfg": {
                "mean": list(OPENAI_MEAN), "std": list(OPENAI_STD), "interpolation": "bicubic", "resize_mode": "squash",
            },
        }  # fmt: skip


QUICK = Size(
    "quick", families=12, species=36, plates=4, val_plates=2, image_size=32, width=4, transformer_width=32, text_width=32,
    embed_dim=32, steps=3, transformer_steps=3, fine_tuning_steps=2, batch_size=16, label_counts=(4, 18),
)  # fmt: skip
"""Size to check that everything runs; its figures mean nothing."""

SMALL = Size("small")
"""Size of the figures in LOG.md: about 15 seconds of one core per cell."""

FULL = Size(
    "full", plates=48, val_plates=12, image_size=64, width=32, transformer_width=192, embed_dim=192, text_width=128, steps=1500,
    transformer_steps=3000, fine_tuning_steps=300, learning_rate=1e-3, fine_tuning_rate=3e-4,
)  # fmt: skip
"""Size for a quiet machine: about ten minutes of two cores per cell."""

SIZES = {size.name: size for size in (QUICK, SMALL, FULL)}
