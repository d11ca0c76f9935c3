"""Shared inputs of the benchmarks: a ViT-B/16 with random weights, photographs and label files, made once and cached."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import photos, taxa
from bioclip_core.files.whole import write_whole
from bioclip_core.preprocessing import OPENAI_MEAN, OPENAI_STD

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
ARCHITECTURE = "ViT-B-16"
DIMENSION = 512
WIDE = 768  # as BioCLIP 2
LOGIT_SCALE = 100.0  # the value at the end of CLIP's training, and of BioCLIP's
SMALL = (500, 375)
LARGE = (4000, 3000)  # 12 megapixels
LABEL_COUNTS = (1_000, 50_000) if QUICK else (1_000, 50_000, 400_000)
_CENTRING_SEED = 900_000  # first seed of the photos whose mean feature centres the model; not used by the benchmarks


@dataclass(frozen=True, slots=True)
class Workload:
    """Amount of work in one round of a benchmark: enough to outlast timer noise, little enough for five pairs."""

    small: int = 12 if QUICK else 24
    """500×375 photos per round."""
    large: int = 4 if QUICK else 12
    """12-megapixel photos per round."""
    grouped: int = 1 if QUICK else 2
    """Photos per round that the peer answers at genus rank over the largest label file (seconds each)."""
    pairs: int = 2 if QUICK else 5
    """Rounds of each side."""


WORKLOAD = Workload()


def cache() -> Path:
    """Return the folder of the fixtures: ``BIOCLIP_BENCH_CACHE``, or ``benchmarks/.cache``."""
    named = os.environ.get("BIOCLIP_BENCH_CACHE")
    folder = Path(named) if named else Path(__file__).parent / ".cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def small_photos(count: int = WORKLOAD.small) -> list[Path]:
    return photos.write_photos(cache() / "photos-500x375", count, *SMALL)


def large_photos(count: int = WORKLOAD.large) -> list[Path]:
    return photos.write_photos(cache() / "photos-12mp", count, *LARGE)


PHOTOS = {"500×375": small_photos, "12 MP": large_photos}
"""Photographs by their size, as benchmarks with the parameter ``size`` name it."""


def label_files(count: int, dimension: int = DIMENSION) -> Path:
    """Return the folder of label files in TreeOfLife's shape with random unit vectors, made on first use."""
    return taxa.random_label_files(cache() / f"labels-{count}x{dimension}", count, dimension)


def wide_label_set(count: int) -> Path:
    """Return a label set of random half-precision vectors of ``WIDE`` numbers with invented names, made on first use."""
    from bioclip_core.labels.manifest import Block
    from bioclip_core.labels.writing import write_label_set

    folder = cache() / f"memory-{count}x{WIDE}-set"
    if not (folder / "label_set.json").exists():
        encoder = {"weights_sha256": "0" * 64, "source": "none", "revision": ""}
        vectors_ND = taxa.random_units(count, WIDE, seed=9).astype(np.float16)
        block = Block(0, count, "text", LOGIT_SCALE)
        write_label_set(folder, taxa.invented_taxa(count, seed=9), vectors_ND, encoder, block, {})
    return folder


def model_folder() -> Path:
    """Return an open_clip folder of a ViT-B/16 at 224 px with random weights; its contract is squash, bilinear, OpenAI mean and std.

    A random network gives nearly the same feature for every photo. The bias of its last normalisation is therefore set so that
    the mean feature of some photographs is zero. Answers then differ by photo, without any cost in speed.
    """
    folder = cache() / "vit-b-16-random"
    if (folder / "open_clip_config.json").exists():
        return folder
    import open_clip
    import torch
    from safetensors.torch import save_file

    logging.getLogger("open_clip").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(16)
    model = open_clip.create_model(ARCHITECTURE, device="cpu").eval()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(LOGIT_SCALE))
        _centre(model)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    preprocess = {
        "size": 224,
        "mean": OPENAI_MEAN,
        "std": OPENAI_STD,
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    config = {"model_cfg": open_clip.get_model_config(ARCHITECTURE), "preprocess_cfg": preprocess}
    write_whole(folder / "open_clip_config.json", json.dumps(config, indent=1))
    return folder


def _centre(model: Any, count: int = 48) -> None:
    """Set ``ln_post.bias`` to the negated mean of its output over ``count`` photos."""
    import torch

    seen: list[Any] = []
    hook = model.visual.ln_post.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    paths = photos.write_photos(cache() / "photos-centring", count, *SMALL, first_seed=_CENTRING_SEED)
    for start in range(0, count, 16):
        model.encode_image(torch.from_numpy(model_inputs(paths[start : start + 16])))
    hook.remove()
    outputs = torch.cat(seen)
    pooled = outputs[:, 0] if outputs.ndim == 3 else outputs
    model.visual.ln_post.bias.copy_(-pooled.mean(0))


def model_inputs(paths: Sequence[Path], size: int = 224) -> NDArray[np.float32]:
    """Squash photos to ``size`` pixels and normalise them: the model's input, made as plainly as possible."""
    from PIL import Image

    mean, std = (np.asarray(values, dtype=np.float32) for values in (OPENAI_MEAN, OPENAI_STD))
    rows = []
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        rows.append((np.asarray(small, dtype=np.float32) / 255 - mean) / std)
    return np.ascontiguousarray(np.stack(rows).transpose(0, 3, 1, 2), dtype=np.float32)
