"""A model's folder whose config, preprocessing or weights cannot be right is refused in one line, before memory is spent."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bioclip_core import weights
from bioclip_core.device import Compute
from bioclip_core.errors import ModelError
from bioclip_core.models import find_model
from bioclip_core.open_clip_encoder import OpenClipEncoder, load_model
from bioclip_core.preprocessing import preprocessing_of
from bioclip_core.weights import check_tokens

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@pytest.fixture
def folder(clip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "model"))


def change(folder: Path, *path: Any) -> None:
    """Set a member of the config: ``*keys, value``."""
    *keys, last, value = path
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    part = config
    for key in keys:
        part = part[key]
    part[last] = value
    (folder / CONFIG).write_text(json.dumps(config), "utf-8")


def says(folder: Path, step: Callable[..., object] = find_model) -> str:
    found = find_model(f"local-dir:{folder}", {}) if step is not find_model else None
    with pytest.raises(ModelError) as refusal:
        find_model(f"local-dir:{folder}", {}) if step is find_model else step(found)
    text = str(refusal.value)
    assert str(folder) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (("model_cfg", []), "model_cfg: expected 'object', got 'array'"),
        (("model_cfg", "embed_dim", "24"), "model_cfg.embed_dim: expected 'int | null', got 'str'"),
        (("model_cfg", "embed_dim", -24), "embed_dim -24: a number above 0"),
        (("model_cfg", "vision_cfg", None), "model_cfg.vision_cfg: expected 'object', got 'null'"),
        (("model_cfg", "vision_cfg", "image_size", "abc"), "model_cfg.vision_cfg.image_size"),
        (("model_cfg", "vision_cfg", "image_size", 1_000_000), "image_size 1000000: a number above 0 and up to 2,048"),
        (("model_cfg", "vision_cfg", "image_size", [32, 64]), "only square inputs are supported"),
        (("model_cfg", "vision_cfg", "image_size", []), "model_cfg.vision_cfg.image_size"),
        (("model_cfg", "vision_cfg", "layers", 10**9), "layers 1000000000: a number above 0 and up to 512"),
        (("model_cfg", "vision_cfg", "layers", [1, 2, 10**9, 1]), "layers 1000000000"),
        (("model_cfg", "vision_cfg", "patch_size", 0), "patch_size 0: a number above 0"),
        (("model_cfg", "vision_cfg", "width", True), "model_cfg.vision_cfg.width"),
        (("model_cfg", "text_cfg", []), "model_cfg.text_cfg: expected 'object', got 'array'"),
        (("model_cfg", "text_cfg", None), "model_cfg.text_cfg: expected 'object', got 'null'"),
        (("model_cfg", "text_cfg", "context_length", 10**9), "context_length 1000000000"),
        (("model_cfg", "text_cfg", "hf_tokenizer_name", ["x"]), "model_cfg.text_cfg.hf_tokenizer_name"),
        (("model_cfg", "custom_text", "yes"), "model_cfg.custom_text: expected 'bool', got 'str'"),
        (("preprocess_cfg", "x"), "preprocess_cfg: expected 'object | null', got 'str'"),
        (("preprocess_cfg", "mean", "x"), "mean 'x': three numbers are needed"),
        (("preprocess_cfg", "mean", [0.5, 0.5]), "mean [0.5, 0.5]: three numbers are needed"),
        (("preprocess_cfg", "mean", [1e300, 0, 0]), "mean (1e+300, 0.0, 0.0): numbers on a scale of 0 to 1"),
        (("preprocess_cfg", "std", [0.5, 0, 0.5]), "std (0.5, 0.0, 0.5): numbers above 0"),
        (("preprocess_cfg", "std", None), ""),
        (("preprocess_cfg", "size", "32"), "size '32': a whole number of pixels"),
        (("preprocess_cfg", "size", 64), "makes images of 64 pixels, but the vision tower takes 32 (image_size)"),
        (("preprocess_cfg", "interpolation", "lanczos"), "interpolation 'lanczos': allowed are nearest, bilinear, bicubic"),
        (("preprocess_cfg", "interpolation", ["bicubic"]), "interpolation ['bicubic']: allowed are"),
        (("preprocess_cfg", "resize_mode", {}), "resize_mode {}: allowed are squash, shortest, longest"),
        (("preprocess_cfg", "fill_color", [1, 2, 3]), "fill [1, 2, 3]: allowed are 0 to 255"),
    ],
)  # fmt: skip
def test_a_member_of_the_config_that_cannot_be_used_is_named(folder: Path, path: tuple[Any, ...], fault: str) -> None:
    change(folder, *path)
    if fault:
        assert fault in says(folder)
    else:  # null is as good as absent
        assert find_model(f"local-dir:{folder}", {}).preprocessing.said_by["std"] == "assumed"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{" * 3, "is not JSON"),
        ('{"a":' * 100_000, "deep, the limit for such a document"),
        ('{"model_cfg": {}, "model_cfg": {}}', "has the key 'model_cfg' twice"),
        ('{"model_cfg": {"embed_dim": NaN}}', "has the value NaN"),
        ("{}", "has no model_cfg"),
    ],
)
def test_a_config_that_is_not_one_document_is_refused(folder: Path, content: str, fault: str) -> None:
    (folder / CONFIG).write_text(content, "utf-8")
    assert fault in says(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_pipe_in_place_of_a_config_is_not_waited_for(folder: Path) -> None:
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)
    assert "is not a file" in says(folder)


def test_a_config_that_announces_a_billion_numbers_allocates_none_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(folder, "model_cfg", "vision_cfg", "width", 1_000_000)  # 12 terabytes in fp32
    import open_clip

    create = open_clip.create_model

    def only_without_memory(*arguments: Any, **options: Any) -> Any:
        assert options.get("device") == "meta"
        return create(*arguments, **options)

    monkeypatch.setattr(open_clip, "create_model", only_without_memory)
    text = says(folder, load_model)
    assert "announces 24,000," in text
    assert WEIGHTS in text


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (("model_cfg", "vision_cfg", "image_size", 64), "needs visual.positional_embedding of shape 17x32"),
        (("model_cfg", "text_cfg", "context_length", 32), "needs positional_embedding of shape 32x32"),
        (("model_cfg", "embed_dim", 16), "size mismatch for"),
        (("model_cfg", "text_cfg", "layers", 3), "Missing key(s) in state_dict"),
        (("model_cfg", "text_cfg", "layers", 1), "Unexpected key(s) in state_dict"),
        (("model_cfg", "vision_cfg", "nonsense", 1), "no model can be made of"),
        (("model_cfg", "vision_cfg", "timm_model_name", "no_such_tower"), "no model can be made of"),
    ],
)
def test_a_config_that_is_not_that_of_the_weights_is_refused(folder: Path, path: tuple[Any, ...], fault: str) -> None:
    change(folder, *path)
    change(folder, "preprocess_cfg", "size", None)
    assert fault in says(folder, load_model)


def test_a_stretched_position_is_found_in_a_pickled_checkpoint_too(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "open_clip_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    load_model(find_model(f"local-dir:{folder}", {}))
    change(folder, "model_cfg", "vision_cfg", "image_size", 64)
    assert "needs visual.positional_embedding of shape 17x32" in says(folder, load_model)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("visual.proj", np.nan, "visual.proj has numbers that are not finite"),
        ("ln_final.weight", np.inf, "ln_final.weight has numbers that are not finite"),
        ("logit_scale", 500.0, "logit scale inf: a number from 0.001 to 10000 is needed"),
        ("logit_scale", -90.0, "logit scale"),
    ],
)
def test_weights_that_give_no_meaning_are_refused(folder: Path, name: str, value: float, fault: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors[name].view(-1)[0] = value
    save_file(tensors, folder / WEIGHTS)
    assert fault in says(folder, lambda found: OpenClipEncoder(found, Compute("cpu", "fp32", "for the test")))


@pytest.mark.parametrize(
    "content",
    [struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 9) + b"{nonsense", struct.pack("<Q", 100_000) + b"[" * 100_000],
)  # fmt: skip
def test_a_safetensors_header_of_nonsense_is_one_line(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    assert "cannot be loaded" in says(folder, load_model)


def test_a_pointer_of_git_lfs_in_place_of_the_weights_says_how_to_get_them(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 6644252\n")
    assert "is a pointer of Git LFS, not the file itself; get it with: git lfs pull" in says(folder)


def test_weights_that_are_replaced_while_they_are_opened_are_refused(folder: Path, monkeypatch: Any) -> None:
    found = find_model(f"local-dir:{folder}", {})
    tensors = load_file(folder / WEIGHTS)
    tensors["visual.proj"] += 1
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelError, match="was replaced while it was opened; start again"):
        load_model(found)


def test_tokens_that_the_text_tower_does_not_know_are_refused() -> None:
    tokens = torch.tensor([[0, 5, 9]])
    check_tokens("model 'm'", tokens, {"vocab_size": 10, "context_length": 3})
    with pytest.raises(ModelError, match=r"token 9, its text tower knows 9 tokens \(vocab_size\)"):
        check_tokens("model 'm'", tokens, {"vocab_size": 9, "context_length": 3})
    with pytest.raises(ModelError, match=r"3 tokens per caption, its text tower takes 77 \(context_length\)"):
        check_tokens("model 'm'", tokens, {})


def test_a_part_that_cannot_be_built_without_memory_is_not_a_reason_to_refuse(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    def unbuildable(*_arguments: Any, **_options: Any) -> Any:
        raise NotImplementedError("Cannot copy out of meta tensor")

    monkeypatch.setattr(open_clip, "create_model", unbuildable)
    weights.check_sizes(find_model(f"local-dir:{folder}", {}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(
    contract=st.dictionaries(
        st.sampled_from(["size", "mean", "std", "interpolation", "resize_mode", "fill_color", "mode"]), JSON
    ),
    size=JSON,
)
def test_any_preprocessing_is_used_or_refused_in_one_line(contract: dict[str, Any], size: Any) -> None:
    refusal, made = "", None
    try:
        made = preprocessing_of(size, folder=contract)
    except ModelError as error:
        refusal = str(error)
    assert refusal.isprintable()
    assert len(refusal) < 400
    if made is not None:
        assert 1 <= made.size <= 2048
        assert np.isfinite([*made.mean, *made.std]).all()
        assert min(made.std) > 0


@pytest.mark.parametrize("place", ["create_model", "load_checkpoint"])
def test_a_time_out_of_the_host_is_not_a_fault_of_the_weights(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of an alarm raises it wherever the program is."""

    def interrupted(*_: object, **__: object) -> None:
        raise TimeoutError("the host's alarm")

    found = find_model(f"local-dir:{folder}", {})
    monkeypatch.setattr(f"open_clip.{place}", interrupted)
    with pytest.raises(TimeoutError, match="the host's alarm"):
        load_model(found)
