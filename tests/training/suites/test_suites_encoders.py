"""Encoders of other families through the same calls: models of open_clip, SigLIP's kind, and image encoders of timm."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from suite_samples import evaluated, fake, nabirds, only

from bioclip_core.device import Compute
from bioclip_core.errors import ModelError, NoTextTower
from bioclip_core.models import ModelEntry, find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder
from bioclip_training.suites.encoders import TimmEncoder, encoding, find_encoder, opened, preprocessing_for

CPU = Compute("cpu", "fp32", "for tests")
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


def open_clip_folder(folder: Path, **more: Any) -> Path:
    """Write a model of open_clip with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": {**TEXT, **more.pop("text", {})}, **more}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}), "utf-8")
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = kind(**config)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        str(folder / "open_clip_model.safetensors"),
    )
    return folder


def siglip_folder(folder: Path) -> Path:
    """Write a model of SigLIP's kind: its text tower sees every token, and its logits have a bias."""
    text = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    return open_clip_folder(folder, text=text, custom_text=True, init_logit_bias=-10.0)


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vision transformer of timm with random weights, as DINOv2's, saved for ``local-dir:``."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("timm")
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2, "init_values": 1.0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, **sizes)  # type: ignore[arg-type]
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, str(folder / "model.safetensors")
    )
    config = {
        "architecture": "vit_small_patch14_dinov2", "num_classes": 0, "model_args": sizes,
        "pretrained_cfg": {
            "input_size": [3, 32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "interpolation": "bicubic", "crop_pct": 0.875,
            "num_classes": 0, "first_conv": "patch_embed.proj", "classifier": "head",
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def test_an_encoder_of_timm_has_features_lengths_and_a_sha256_of_its_weights(
    timm_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"timm:local-dir:{timm_folder}"
    with caplog.at_level(logging.WARNING):
        encoder = opened(find_encoder(name, {}), CPU)
    assert "crops the centre at 0.875 of the resized image; the whole shorter side is used instead" in caplog.text
    pixels = np.random.default_rng(1).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    unit, lengths = encoding(encoder, lengths=True)(pixels)
    assert unit.shape == (3, encoder.dimension) == (3, 24)
    assert np.linalg.norm(unit.astype(np.float32), axis=1) == pytest.approx(1, abs=1e-3)
    assert (lengths > 0).all()
    assert (encoder.encode_images(pixels) == unit).all()
    assert encoder.identity["source"] == name
    assert encoder.identity["weights_sha256"] == opened(find_encoder(name, {}), CPU).identity["weights_sha256"]
    assert encoder.preprocessing.mean == (0.5, 0.4, 0.3)
    with pytest.raises(NoTextTower, match="has image features alone"):
        encoder.encode_texts(["a photo of a moth."])


def test_features_of_timm_are_those_of_its_own_forward_pass(timm_folder: Path) -> None:
    import torch

    encoder = TimmEncoder(f"local-dir:{timm_folder}", CPU)
    pixels = np.random.default_rng(2).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    normal = (pixels / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.2, 0.2]
    with torch.inference_mode():
        own = encoder.model(torch.from_numpy(normal.transpose(0, 3, 1, 2)).float()).numpy()
    unit, lengths = encoder.encode_images_with_lengths(pixels)
    assert lengths == pytest.approx(np.linalg.norm(own, axis=1), rel=1e-4)
    assert unit.astype(np.float32) == pytest.approx(own / np.linalg.norm(own, axis=1, keepdims=True), abs=2e-3)


def test_a_name_that_timm_does_not_know_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"model 'timm:no_such_model'.*give a name that timm has weights for"):
        TimmEncoder("no_such_model", CPU)


def test_tasks_of_images_run_with_timm_and_prompts_are_missing(timm_folder: Path, tmp_path: Path) -> None:
    root = nabirds(tmp_path / "sets", [("red", "red", 3), ("blue", "blue", 3)])
    result = only(evaluated(root, tmp_path / "out", "nabirds", model=f"timm:local-dir:{timm_folder}"))
    found = {figure.name: figure for figure in result.figures}
    assert "has image features alone" in found["zero-shot top-1"].note
    assert found["1-shot accuracy"].published == 1.0, "equal colours have equal features"


def test_lengths_of_open_clip_are_those_of_features_before_their_normalisation(tmp_path: Path) -> None:
    import torch

    encoder = OpenClipEncoder(find_model(str(open_clip_folder(tmp_path / "clip")), {}), CPU)
    pixels = np.random.default_rng(4).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    unit, lengths = encoder.encode_images_with_lengths(pixels)
    own = encoder.preprocessing
    normal = (pixels / 255 - own.mean) / own.std
    with torch.inference_mode():
        raw = encoder.model.encode_image(torch.from_numpy(normal.transpose(0, 3, 1, 2)).float()).numpy()
    assert lengths == pytest.approx(np.linalg.norm(raw, axis=1), rel=1e-4)
    assert (unit == encoder.encode_images(pixels)).all()
    unit, lengths = encoding(encoder, lengths=False)(pixels)
    assert np.isnan(lengths).all()
    assert (unit == encoder.encode_images(pixels)).all()


def test_an_encoder_of_a_plugin_tells_no_lengths() -> None:
    _, lengths = encoding(fake()[0], lengths=True)(np.zeros((2, 8, 8, 3), np.uint8))
    assert np.isnan(lengths).all()


def test_prompts_of_a_sigmoid_model_do_not_depend_on_what_is_encoded_beside_them(tmp_path: Path) -> None:
    """mteb, pull request 1424: SigLIP padded to the longest caption of a batch fell from 80% to 10% on MNIST; it needs its full length."""
    encoder = OpenClipEncoder(find_model(str(siglip_folder(tmp_path / "siglip")), {}), CPU)
    alone = encoder.encode_texts(["a photo of a moth."])
    beside = encoder.encode_texts(
        ["a photo of a moth.", "a photo of a very long name of a moth that lives in the high mountains of Fictia."]
    )
    assert beside[0] == pytest.approx(alone[0], abs=1e-5)
    assert encoder.logit_bias == pytest.approx(-10.0)


def test_models_of_open_clip_and_of_siglips_kind_run_through_the_same_calls(tmp_path: Path) -> None:
    root = nabirds(tmp_path / "sets", [("red", "red", 3), ("blue", "blue", 3)])
    for folder in (open_clip_folder(tmp_path / "clip"), siglip_folder(tmp_path / "siglip")):
        result = only(evaluated(root, tmp_path / f"out {folder.name}", "nabirds", model=str(folder)))
        found = {figure.name: figure for figure in result.figures}
        # Random weights: equal colours have equal features, so that each class is right as a whole, or wrong.
        assert found["zero-shot top-1"].published in (0.0, 0.5, 1.0)
        assert found["1-shot accuracy"].published == 1.0


def test_published_preprocessing_is_that_of_the_folder_and_not_what_a_registered_name_pins(tmp_path: Path) -> None:
    folder = open_clip_folder(tmp_path / "clip")
    pinned = {"size": 32, "resize_mode": "squash", "interpolation": "bilinear"}
    found = find_model("pinned", {"pinned": ModelEntry("pinned", f"local-dir:{folder}", preprocessing=pinned)})
    encoder = OpenClipEncoder(found, CPU)
    modes = {
        resize: preprocessing_for(found, encoder, resize, exact=False)
        for resize in ("published", "crop", "squash", "model")
    }
    assert {resize: (made.resize_mode, made.interpolation) for resize, made in modes.items()} == {
        "published": ("shortest", "bicubic"), "crop": ("shortest", "bicubic"), "squash": ("squash", "bilinear"),
        "model": ("squash", "bilinear"),
    }  # fmt: skip
    assert modes["published"].size == 32
    assert preprocessing_for(found, encoder, "published", exact=True).decode == "full"
