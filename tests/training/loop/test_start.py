"""Models that a run can start from, and starts that are refused before training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from collections_of_discs import TINY, tiny_config

from bioclip_core.errors import BioclipError, ModelError, UnknownModel, UsageError
from bioclip_core.models import ModelEntry
from bioclip_plugin.testing import FakeModel
from bioclip_training.loop.checkpoint import write_model
from bioclip_training.loop.start import open_start, with_pairwise_bias


def changed(folder: Path, **text: object) -> str:
    """Return a start whose text tower has other settings."""
    config = json.loads(json.dumps(TINY))
    config["model_cfg"]["text_cfg"] |= text
    (folder / "other.json").write_text(json.dumps(config), "utf-8")
    return f"new:{folder / 'other.json'}"


def test_random_weights_are_those_of_the_seed_and_leave_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    name = tiny_config(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    one, same, other = (open_start(name, {}, seed).model.state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["visual.proj"], other["visual.proj"])


def test_an_architecture_without_a_contract_is_trained_as_bioclip_prepares_images(tmp_path: Path) -> None:
    start = open_start(tiny_config(tmp_path), {}, 0)
    assert start.is_random
    assert start.preprocessing.resize_mode == "squash"
    assert start.preprocessing.size == 32
    assert start.preprocess_cfg["resize_mode"] == "squash"


def test_a_written_model_opens_again_with_its_contract(tmp_path: Path) -> None:
    start = open_start(tiny_config(tmp_path), {}, 0)
    write_model(
        tmp_path / "model",
        start.model.state_dict(),
        start.model_cfg,
        {**start.preprocess_cfg, "interpolation": "bilinear"},
    )
    again = open_start(f"local-dir:{tmp_path / 'model'}", {}, 0)
    assert not again.is_random
    assert again.preprocessing.interpolation == "bilinear"
    assert again.preprocessing.said_by["resize_mode"] == "folder"
    assert all(torch.equal(value, start.model.state_dict()[key]) for key, value in again.model.state_dict().items())


def test_an_unknown_architecture_is_refused_with_examples() -> None:
    with pytest.raises(UnknownModel, match=r"new:ViT-Q-99: no such architecture.*new:small.*ViT-B-16"):
        open_start("new:ViT-Q-99", {}, 0)


def test_a_config_that_lacks_a_tower_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"model_cfg": {"embed_dim": 32, "text_cfg": {}}}', "utf-8")
    with pytest.raises(ModelError, match="lacks vision_cfg"):
        open_start(f"new:{tmp_path / 'half.json'}", {}, 0)
    with pytest.raises(ModelError, match="cannot be read"):
        open_start(f"new:{tmp_path / 'missing.json'}", {}, 0)


def test_a_tokenizer_with_more_tokens_than_the_text_tower_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"token 49407, its text tower knows 1000 tokens"):
        open_start(changed(tmp_path, vocab_size=1000), {}, 0)


def test_a_tokenizer_that_cannot_be_had_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BioclipError) as caught:
        open_start(changed(tmp_path, hf_tokenizer_name="invented/tokenizer"), {}, 0)
    assert "invented/tokenizer" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_a_plugins_own_cannot_be_trained() -> None:
    entries: dict[str, ModelEntry] = {}
    FakeModel().register_models(register=lambda entry: entries.update({entry.name: entry}))
    with pytest.raises(UsageError, match="a plugin's own encoder"):
        open_start(next(iter(entries)), entries, 0)


def test_the_pairwise_loss_gets_a_bias_that_the_checkpoint_keeps(tmp_path: Path) -> None:
    start = with_pairwise_bias(open_start(tiny_config(tmp_path), {}, 0))
    write_model(tmp_path / "model", start.model.state_dict(), start.model_cfg, start.preprocess_cfg)
    again = open_start(f"local-dir:{tmp_path / 'model'}", {}, 0)
    assert float(again.model.logit_bias.detach()) == -10.0
    assert float(again.model.logit_scale.detach().exp()) == pytest.approx(10.0)
