"""What decides the demo checkpoint, as one frozen recipe; and how its making reports progress."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from bioclip_core.captions import Caption
from bioclip_core.errors import UsageError
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD

CAPTION_MIX = {
    Caption.TAXONOMIC: 0.5,
    Caption.SCIENTIFIC: 0.15,
    Caption.COMMON: 0.15,
    Caption.SCIENTIFIC_COMMON: 0.1,
    Caption.TAXONOMIC_COMMON: 0.1,
}
"""How often each caption is drawn for a sample; taxonomic most, since label sets are made of it."""

END_OF_TEXT = 49407


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of training with a learning rate that rises and falls."""

    steps: int
    learning_rate: float
    """At its highest."""
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.warmup_steps <= self.steps:
            raise UsageError(
                f"{self.steps} steps of which {self.warmup_steps} warm up: at least one step is needed, and no more warm-up"
            )


@dataclass(frozen=True, slots=True)
class DemoRecipe:
    """Everything that decides the demo checkpoint, but for the machine's rounding."""

    biosphere_seed: int = 2
    families: int = 24
    species: int = 72
    scenes: int = 14_400
    """Rendered for the first phase, equally many a species, infrared at its ordinary share."""
    night_scenes: int = 7_200
    """Infrared ones that the second phase adds: after the first, colour decides, and four in ten night scenes are right."""
    scenes_seed: int = 11
    weights_seed: int = 3
    first: Phase = Phase(steps=1500, learning_rate=1.5e-3, warmup_steps=100)
    second: Phase = Phase(steps=500, learning_rate=8e-4, warmup_steps=50)
    batch_size: int = 96
    weight_decay: float = 0.05
    image_size: int = 72
    patch_size: int = 12
    vision_layers: int = 6
    vision_width: int = 192
    text_layers: int = 2
    text_width: int = 128
    embed_dim: int = 192

    def __post_init__(self) -> None:
        if self.scenes < self.batch_size or self.night_scenes < 0 or self.image_size % self.patch_size:
            raise UsageError(
                f"{self.scenes} scenes and {self.night_scenes} by night, images of {self.image_size} px in patches of "
                f"{self.patch_size}: needed are scenes for a batch ({self.batch_size}) and an image size that the patch divides"
            )

    def model_cfg(self) -> dict[str, Any]:
        """``model_cfg`` of ``open_clip_config.json``."""
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "image_size": self.image_size, "layers": self.vision_layers, "width": self.vision_width, "head_width": 64,
                "patch_size": self.patch_size,
            },
            "text_cfg": {
                "context_length": 77, "vocab_size": END_OF_TEXT + 1, "width": self.text_width, "heads": self.text_width // 64,
                "layers": self.text_layers,
            },
        }  # fmt: skip

    def preprocess_cfg(self) -> dict[str, Any]:
        """``preprocess_cfg`` of ``open_clip_config.json``: the preprocessing contract."""
        return {"mean": list(OPENAI_MEAN), "std": list(OPENAI_STD), "interpolation": "bicubic", "resize_mode": "squash"}


def time_left(started: float, share: float) -> str:
    """Minutes and seconds that the rest takes, when ``share`` of it has taken since ``started`` (monotonic)."""
    seconds = (time.monotonic() - started) * (1 - share) / share
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def say(line: str) -> None:
    """One line of progress."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
