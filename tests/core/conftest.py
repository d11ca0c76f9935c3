"""Small models with random weights, saved as open_clip folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def save_model(
    folder: Path, config: dict[str, Any], preprocess: dict[str, Any] | None = None, *, seed: int = 7
) -> Path:
    """Write a folder with a model's config and random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    described = {"model_cfg": config, "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(described), "utf-8")
    settings = dict(config)
    kind = open_clip.CustomTextCLIP if settings.pop("custom_text", False) else open_clip.CLIP
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = kind(**settings)
    torch.random.set_rng_state(state)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()},
              str(folder / "open_clip_model.safetensors"))  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP of 1.6 million parameters, whose text tower is causal and pools at the end of the text."""
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
    contract = {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    return save_model(tmp_path_factory.mktemp("models") / "clip", config, contract)


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model with a logit bias whose text tower sees every token and pools at the last one, as SigLIP's does."""
    text = {**TEXT, "context_length": 32, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    config = {"embed_dim": 24, "custom_text": True, "init_logit_bias": -10.0, "vision_cfg": VISION, "text_cfg": text}
    return save_model(tmp_path_factory.mktemp("models") / "siglip", config, {}, seed=8)
